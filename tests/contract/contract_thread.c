/* The contract of what only the real backends have: other threads, children, signals, foreign descriptors. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/contract/contract_loop.h"

/* ---- messages from threads --------------------------------------------------------------------------------------- */

enum { SENDERS = 3, MESSAGES = 2000 };

struct parcel {
    struct io_msg msg;
    struct mailbox *box;
    int sender, number;
};

struct mailbox {
    struct loop *loop;
    int next[SENDERS];
    int count;
    struct parcel parcel[SENDERS][MESSAGES];
};

struct sender {
    struct mailbox *box;
    int number;
};

static void parcel_deliver(struct io_msg *m)
{
    struct parcel *p = CONTAINER_OF(m, struct parcel, msg);
    assert_int_equal(p->number, p->box->next[p->sender]);
    p->box->next[p->sender]++;
    p->box->count++;
}

static void *sender_main(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < MESSAGES; i++) {
        struct parcel *p = &s->box->parcel[s->number][i];
        *p = (struct parcel){.msg.deliver = parcel_deliver, .box = s->box, .sender = s->number, .number = i};
        loop_post(s->box->loop, &p->msg);
        if (i % 50 == 0)
            sched_yield();
    }
    return NULL;
}

static void messages_of_a_thread_arrive_in_order(void **state)
{
    struct loop_fixture *f = *state;
    static struct mailbox box;
    memset(&box, 0, sizeof box);
    box.loop = f->loop;
    pthread_t thread[SENDERS];
    struct sender sender[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        sender[i] = (struct sender){&box, i};
        assert_int_equal(pthread_create(&thread[i], NULL, sender_main, &sender[i]), 0);
    }
    case_run_until(f, &box.count, SENDERS * MESSAGES);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(box.count, SENDERS * MESSAGES);
    assert_int_equal(loop_stats(f->loop)->posts, SENDERS * MESSAGES);
}

/* Ping-pong: each message is posted only when the other has arrived, so the loop sleeps each time. */
struct ping {
    struct io_msg msg;
    struct loop *loop;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int delivered;
};

static void ping_deliver(struct io_msg *m)
{
    struct ping *p = CONTAINER_OF(m, struct ping, msg);
    pthread_mutex_lock(&p->lock);
    p->delivered++;
    pthread_cond_signal(&p->cond);
    pthread_mutex_unlock(&p->lock);
}

static void *ping_main(void *arg)
{
    struct ping *p = arg;
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < 500; i++) {
        loop_post(p->loop, &p->msg);
        while (p->delivered == i)
            pthread_cond_wait(&p->cond, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    loop_stop(p->loop);
    return NULL;
}

static void a_sleeping_loop_is_woken_and_stopped_from_another_thread(void **state)
{
    struct loop_fixture *f = *state;
    struct ping p = {.msg.deliver = ping_deliver, .loop = f->loop};
    pthread_mutex_init(&p.lock, NULL);
    pthread_cond_init(&p.cond, NULL);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ping_main, &p), 0);
    assert_int_equal(loop_run(f->loop), 0);
    pthread_join(thread, NULL);
    assert_int_equal(p.delivered, 500);
}

static void stop_fired(struct io_timer *t)
{
    t->fired = NULL;
}

static void a_loop_with_nothing_to_do_sleeps(void **state)
{
    struct loop_fixture *f = *state;
    case_run_for(f, 1);
    uint64_t before = loop_stats(f->loop)->iterations;
    struct timespec a, b;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    struct io_timer late = {.fired = stop_fired};
    timer_arm(f->loop, &late, mono_add_ms(loop_now(f->loop), 1000000));
    case_run_for(f, 200);
    timer_disarm(f->loop, &late);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    assert_true(loop_stats(f->loop)->iterations - before <= 4);
    assert_true((b.tv_sec - a.tv_sec) * NS_PER_S + b.tv_nsec - a.tv_nsec < 20 * NS_PER_MS);
}

/* ---- the threads of a loop --------------------------------------------------------------------------------------- */

struct roaming {
    struct loop_fixture *f;
    struct case_op write[100], connect;
    struct net_listener listener;
    struct io_timer stop;
    int listener_closed;
};

static void *roaming_main(void *arg)
{
    struct roaming *r = arg;
    assert_int_equal(loop_run(r->f->loop), 0);
    return NULL;
}

static void roaming_stop(struct io_timer *t)
{
    loop_stop(CONTAINER_OF(t, struct roaming, stop)->f->loop);
}

static void roaming_data(struct net_conn *conn, struct slice data)
{
}

static void roaming_ended(struct net_conn *conn, int status)
{
}

struct counted_conn {
    struct net_conn conn;
    int closed;
};

static void roaming_closed_conn(struct net_conn *conn)
{
    CONTAINER_OF(conn, struct counted_conn, conn)->closed++;
}

static const struct net_conn_ops roaming_ops = {roaming_data, roaming_ended, roaming_closed_conn};
static struct counted_conn roaming_ends[2];

static void roaming_accepted(struct net_listener *l, int socket, const struct net_address *peer)
{
    struct roaming *r = CONTAINER_OF(l, struct roaming, listener);
    roaming_ends[1].conn.ops = &roaming_ops;
    net_adopt(r->f->loop, &roaming_ends[1].conn, socket);
}

static void roaming_listener_closed(struct net_listener *l)
{
    CONTAINER_OF(l, struct roaming, listener)->listener_closed++;
}

/* Made here, run on a thread that then ends, destroyed here with everything still open. */
static void a_loop_may_be_made_run_and_destroyed_on_different_threads(void **state)
{
    struct loop_fixture *f = *state;
    static struct roaming r;
    static uint8_t buf[100][4096];
    struct err e = {0};
    memset(&r, 0, sizeof r);
    memset(roaming_ends, 0, sizeof roaming_ends);
    r.f = f;
    r.listener.accepted = roaming_accepted;
    struct net_address at = {.text = "127.0.0.1"};
    int port = net_listen(f->loop, &r.listener, &at, &e);
    assert_true(port > 0);
    r.listener.closed = roaming_listener_closed;
    at.port = (uint16_t)port;
    roaming_ends[0].conn.ops = &roaming_ops;
    net_connect(f->loop, &roaming_ends[0].conn, &at, case_begin(&r.connect));
    r.connect.inside = false;
    r.stop.fired = roaming_stop;
    timer_arm(f->loop, &r.stop, mono_add_ms(loop_now(f->loop), 50));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, roaming_main, &r), 0);
    pthread_join(thread, NULL);
    assert_int_equal(r.connect.completions, 1);
    assert_int_equal(r.connect.op.result, 0);
    for (int i = 0; i < 100; i++) { /* never submitted to anybody */
        io_write(f->loop, case_begin(&r.write[i]), (struct io_file){1000000}, buf[i], 4096, 0);
        r.write[i].inside = false;
    }
    loop_destroy(f->loop);
    f->loop = NULL;
    for (int i = 0; i < 100; i++)
        assert_int_equal(r.write[i].completions, 1);
    assert_int_equal(roaming_ends[0].closed, 1);
    assert_int_equal(roaming_ends[1].closed, 1);
    assert_int_equal(r.listener_closed, 1);
}

static void accepting_goes_on_once_there_are_descriptors_again(void **state)
{
    struct loop_fixture *f = *state;
    static struct roaming r;
    struct err e = {0};
    struct rlimit before, tight;
    memset(&r, 0, sizeof r);
    memset(roaming_ends, 0, sizeof roaming_ends);
    r.f = f;
    r.listener.accepted = roaming_accepted;
    case_run_for(f, 1);
    int free_fd[2] = {dup(0), dup(0)}; /* for the listener and for our end; none is left for the other */
    close(free_fd[0]);
    close(free_fd[1]);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = (struct rlimit){(rlim_t)free_fd[1] + 1, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    struct net_address at = {.text = "127.0.0.1"};
    at.port = (uint16_t)net_listen(f->loop, &r.listener, &at, &e);
    roaming_ends[0].conn.ops = &roaming_ops;
    int64_t connected = CASE_RESULT(f, net_connect(f->loop, &roaming_ends[0].conn, &at, op));
    case_run_for(f, 20);
    bool accepted_too_early = roaming_ends[1].conn.ops != NULL;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(connected, 0);
    assert_false(accepted_too_early);
    for (int i = 0; i < 100 && !roaming_ends[1].conn.ops; i++)
        case_run_for(f, 10);
    assert_non_null(roaming_ends[1].conn.ops);
    for (int i = 0; i < 2; i++) {
        net_close(&roaming_ends[i].conn);
        case_run_until(f, &roaming_ends[i].closed, 1);
    }
}

/* ---- foreign descriptors ----------------------------------------------------------------------------------------- */

struct watched {
    struct io_poll poll;
    int count;
    unsigned events;
};

static void watched_ready(struct io_poll *p, unsigned events)
{
    struct watched *w = CONTAINER_OF(p, struct watched, poll);
    w->count++;
    w->events = events;
}

static void a_foreign_descriptor_is_watched_once_an_arming(void **state)
{
    struct loop_fixture *f = *state;
    struct watched w = {.poll.ready = watched_ready};
    int fd[2];
    char c;
    assert_int_equal(pipe(fd), 0);
    poll_arm(f->loop, &w.poll, fd[0], IO_POLL_IN);
    case_run_for(f, 2);
    assert_int_equal(w.count, 0);
    assert_int_equal(write(fd[1], "ab", 2), 2);
    case_run_until(f, &w.count, 1);
    assert_true(w.events & IO_POLL_IN);
    case_run_for(f, 2);
    assert_int_equal(w.count, 1);
    assert_true(poll_idle(&w.poll));
    poll_arm(f->loop, &w.poll, fd[0], IO_POLL_IN); /* still readable */
    case_run_until(f, &w.count, 2);
    assert_int_equal(read(fd[0], &c, 1), 1);
    poll_arm(f->loop, &w.poll, fd[1], IO_POLL_OUT);
    case_run_until(f, &w.count, 3);
    assert_true(w.events & IO_POLL_OUT);
    close(fd[0]);
    poll_arm(f->loop, &w.poll, fd[1], IO_POLL_IN);
    case_run_until(f, &w.count, 4);
    assert_true(w.events & IO_POLL_ERR);
    close(fd[1]);
}

static void a_disarmed_poll_is_silent_and_may_be_armed_anew(void **state)
{
    struct loop_fixture *f = *state;
    struct watched w = {.poll.ready = watched_ready};
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(write(fd[1], "a", 1), 1);
    poll_arm(f->loop, &w.poll, fd[0], IO_POLL_IN);
    poll_disarm(&w.poll);
    poll_disarm(&w.poll);
    case_run_for(f, 5);
    assert_int_equal(w.count, 0);
    assert_true(poll_idle(&w.poll));
    poll_arm(f->loop, &w.poll, fd[0], IO_POLL_IN);
    poll_arm(f->loop, &w.poll, fd[1], IO_POLL_OUT); /* replaces the first */
    case_run_until(f, &w.count, 1);
    assert_int_equal(w.events, IO_POLL_OUT);
    case_run_for(f, 2);
    assert_int_equal(w.count, 1);
    close(fd[0]);
    close(fd[1]);
}

/* ---- children ---------------------------------------------------------------------------------------------------- */

struct offspring {
    struct io_child child;
    struct net_conn in, out;
    int exited, status, ended, closed;
    uint64_t received;
};

static void offspring_exited(struct io_child *c, int status)
{
    struct offspring *o = CONTAINER_OF(c, struct offspring, child);
    o->exited++;
    o->status = status;
}

static struct offspring *the_offspring;

static void offspring_data(struct net_conn *conn, struct slice data)
{
    assert_true(case_filled(data.ptr, data.len, the_offspring->received));
    the_offspring->received += data.len;
}

static void offspring_ended(struct net_conn *conn, int status)
{
    the_offspring->ended++;
    net_close(conn);
}

static void offspring_closed(struct net_conn *conn)
{
    the_offspring->closed++;
}

static const struct net_conn_ops offspring_ops = {offspring_data, offspring_ended, offspring_closed};

static void offspring_init(struct offspring *o)
{
    the_offspring = o;
    o->child.exited = offspring_exited;
    o->child.to_stdin = &o->in;
    o->child.from_stdout = &o->out;
    o->in.ops = o->out.ops = &offspring_ops;
}

static void a_child_gives_back_what_it_is_given(void **state)
{
    struct loop_fixture *f = *state;
    struct offspring o = {0};
    struct err e = {0};
    offspring_init(&o);
    static uint8_t out[3 << 20];
    case_fill(out, sizeof out, 0);
    const char *argv[] = {"cat", NULL};
    assert_int_equal(child_spawn(f->loop, &o.child, argv, &e), 0);
    struct iovec iov = {out, sizeof out};
    assert_int_equal(CASE_RESULT(f, net_send(&o.in, op, &iov, 1)), sizeof out);
    net_shutdown(&o.in);
    case_run_until(f, &o.exited, 1);
    case_run_until(f, &o.closed, 2);
    assert_int_equal(o.received, sizeof out);
    assert_true(WIFEXITED(o.status) && WEXITSTATUS(o.status) == 0);
    assert_int_equal(o.exited, 1);
}

static void a_child_that_does_not_exist_cannot_start(void **state)
{
    struct loop_fixture *f = *state;
    struct offspring o = {0};
    struct err e = {0};
    offspring_init(&o);
    const char *argv[] = {"/no/such/program", NULL};
    assert_int_equal(child_spawn(f->loop, &o.child, argv, &e), -ENOENT);
    assert_non_null(strstr(e.text, "start '/no/such/program': "));
    case_run_for(f, 2);
    assert_int_equal(o.closed + o.exited, 0);
}

static void a_child_and_its_group_can_be_killed(void **state)
{
    struct loop_fixture *f = *state;
    struct offspring o = {0};
    struct err e = {0};
    offspring_init(&o);
    o.child.to_stdin = NULL;
    const char *argv[] = {"sh", "-c", "sleep 1000 & sleep 1000", NULL};
    assert_int_equal(child_spawn(f->loop, &o.child, argv, &e), 0);
    case_run_for(f, 20);
    assert_int_equal(o.exited, 0);
    child_kill(&o.child, SIGKILL);
    case_run_until(f, &o.exited, 1);
    assert_true(WIFSIGNALED(o.status) && WTERMSIG(o.status) == SIGKILL);
    case_run_until(f, &o.closed, 1); /* its grandchild held the pipe too */
}

static void a_childs_exit_code_is_told(void **state)
{
    struct loop_fixture *f = *state;
    struct offspring o = {0};
    struct err e = {0};
    offspring_init(&o);
    o.child.to_stdin = o.child.from_stdout = NULL;
    const char *argv[] = {"sh", "-c", "read line || exit 7", NULL}; /* stdin is /dev/null */
    assert_int_equal(child_spawn(f->loop, &o.child, argv, &e), 0);
    case_run_until(f, &o.exited, 1);
    assert_true(WIFEXITED(o.status) && WEXITSTATUS(o.status) == 7);
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

struct signalled {
    struct io_signal signal;
    int count;
};

static void signalled_received(struct io_signal *s, int signal)
{
    assert_int_equal(signal, SIGUSR1);
    CONTAINER_OF(s, struct signalled, signal)->count++;
}

static void a_signal_is_received_until_it_is_unwatched(void **state)
{
    struct loop_fixture *f = *state;
    struct signalled s = {.signal.received = signalled_received}, second = s;
    signal(SIGUSR1, SIG_IGN);
    assert_int_equal(signal_watch(f->loop, &s.signal, SIGUSR1), 0);
    assert_int_equal(signal_watch(f->loop, &second.signal, SIGUSR1), -EBUSY);
    for (int i = 1; i <= 3; i++) {
        kill(getpid(), SIGUSR1);
        case_run_until(f, &s.count, i);
    }
    signal_unwatch(&s.signal);
    kill(getpid(), SIGUSR1); /* ignored again */
    case_run_for(f, 2);
    assert_int_equal(s.count, 3);
    assert_true(poll_idle(&s.signal.watch));
    assert_int_equal(signal_watch(f->loop, &s.signal, SIGUSR1), 0); /* and once more */
    kill(getpid(), SIGUSR1);
    case_run_until(f, &s.count, 4);
    signal_unwatch(&s.signal);
    case_run_for(f, 2);
    assert_true(poll_idle(&s.signal.watch));
    signal(SIGUSR1, SIG_DFL);
}

const struct CMUnitTest contract_thread_cases[] = {
    CONTRACT_CASE(messages_of_a_thread_arrive_in_order),
    CONTRACT_CASE(a_sleeping_loop_is_woken_and_stopped_from_another_thread),
    CONTRACT_CASE(a_loop_with_nothing_to_do_sleeps),
    CONTRACT_CASE(a_loop_may_be_made_run_and_destroyed_on_different_threads),
    CONTRACT_CASE(accepting_goes_on_once_there_are_descriptors_again),
    CONTRACT_CASE(a_foreign_descriptor_is_watched_once_an_arming),
    CONTRACT_CASE(a_disarmed_poll_is_silent_and_may_be_armed_anew),
    CONTRACT_CASE(a_child_gives_back_what_it_is_given),
    CONTRACT_CASE(a_child_that_does_not_exist_cannot_start),
    CONTRACT_CASE(a_child_and_its_group_can_be_killed),
    CONTRACT_CASE(a_childs_exit_code_is_told),
    CONTRACT_CASE(a_signal_is_received_until_it_is_unwatched),
};
const size_t contract_thread_count = ARRAY_COUNT(contract_thread_cases);

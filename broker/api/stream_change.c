/*
 * Streams come, change and go: each change is a small machine on loops[0], in the order that storage.md asks for:
 * catalog row first, then the log, then the final row. A crash between two steps is taken up by changes_resume.
 *
 *   create   add_row ─▶ tell(CREATING; logs made) ─▶ [answered] ─ delay ─▶ activate_row ─▶ tell(ACTIVE) ─▶ end
 *   delete   mark_row ─▶ tell(DELETING) ─▶ [answered] ─▶ remove_logs ─ delay ─▶ drop_row ─▶ tell(gone) ─▶ end
 *   update   update_row ─▶ tell ─▶ [answered] ─▶ end
 *
 * Invariants
 *  M1. A stream has at most one machine. A delete that finds one waits for it (`life->remove`): a stream that is being
 *      created goes over to its deletion at the next step.
 *  M2. Catalog calls block, so they run as worker jobs, one at a time, in the order in which they were asked for.
 *  M3. A change is answered after every loop knows of it, so whoever got the answer sees the change on any connection.
 *
 * Failure modes: add_row, mark_row, update_row: the change is answered with the error and nothing has changed.
 * activate_row, drop_row, a loop without memory: tried again every second, with a line in the diagnostics; the catalog
 * says CREATING or DELETING meanwhile, which a restart takes up.
 * Thread: loops[0], but for the functions that end in _here (each loop) and _work (a worker).
 */
#include <stdlib.h>

#include "broker/api/api_impl.h"
#include "common/base/check.h"
#include "common/base/diag.h"

#define RETRY_MS 1000

struct life;

/* What is told to one loop. */
struct life_msg {
    struct io_msg msg;
    struct life *life;
    struct api_loop *loop;
    int status;
    uint32_t removes_left;
};

/* The removal of one shard's log, by its owner. */
struct life_remove {
    struct log_remove log;
    struct life_msg *msg;
    uint64_t shard_uid;
};

/* A change under way. */
struct life {
    struct list link;
    struct api *api;
    uint64_t uid; /* of the stream; 0 until the catalog has given one */
    /* These are the worker's while a job is under way. */
    struct catalog_stream row;
    struct catalog_shard *shards;
    uint32_t shard_count;
    struct api_change *request; /* the create or update to be answered, or NULL */
    struct api_change *remove;  /* the delete to be answered, or NULL */
    bool deleting, resumed;
    bool waits; /* for `timer`, before the step `next` */
    void (*next)(struct life *life);
    struct io_timer timer;
    /* the catalog job */
    int (*work)(struct life *life); /* worker */
    struct io_job job;
    struct list job_link;
    int status;
    /* telling the loops */
    void (*tell)(struct life_msg *m);
    uint32_t acks_left;
    int tell_status;
    struct life_remove *removes; /* of shard_count */
    struct life_msg msg[];       /* of loop_count */
};

struct changes {
    struct list lives;
    struct list jobs; /* the first one is running */
    void (*idle)(struct api *api);
};

static struct api_loop *home(struct api *api)
{
    return &api->loop[0];
}

/* ---- jobs on the catalog (M2) --------------------------------------------------------------------------------------- */

static void job_start_next(struct changes *c);

static void job_work(struct io_job *j)
{
    struct life *life = CONTAINER_OF(j, struct life, job);
    life->status = life->work(life);
}

static void job_done(struct io_job *j)
{
    struct life *life = CONTAINER_OF(j, struct life, job);
    struct changes *c = life->api->changes;
    list_remove(&life->job_link);
    job_start_next(c);
    life->next(life);
}

static void job_start_next(struct changes *c)
{
    if (list_empty(&c->jobs))
        return;
    struct life *life = CONTAINER_OF(c->jobs.next, struct life, job_link);
    life->job.work = job_work;
    life->job.done = job_done;
    job_submit(home(life->api)->io, &life->job);
}

/* Runs `work` on a worker, then `next` here with life->status set. */
static void life_work(struct life *life, int (*work)(struct life *life), void (*next)(struct life *life))
{
    struct changes *c = life->api->changes;
    bool idle = list_empty(&c->jobs);
    life->work = work;
    life->next = next;
    list_push_back(&c->jobs, &life->job_link);
    if (idle)
        job_start_next(c);
}

static int add_row_work(struct life *life)
{
    return catalog_stream_add(life->api->options.catalog, &life->row, life->shards, life->shard_count);
}

static int activate_row_work(struct life *life)
{
    return catalog_reshard(life->api->options.catalog, &life->row, life->shards, life->shard_count, NULL, 0);
}

static int update_row_work(struct life *life)
{
    return catalog_stream_update(life->api->options.catalog, &life->row);
}

static int mark_row_work(struct life *life)
{
    return catalog_stream_mark_deleting(life->api->options.catalog, life->row.uid);
}

static int drop_row_work(struct life *life)
{
    return catalog_stream_remove(life->api->options.catalog, life->row.uid);
}

/* ---- waiting ---------------------------------------------------------------------------------------------------------- */

static void life_abandon(struct life *life);

static void timer_fired(struct io_timer *t)
{
    struct life *life = CONTAINER_OF(t, struct life, timer);
    life->waits = false;
    life->next(life);
}

static void life_wait(struct life *life, uint32_t ms, void (*next)(struct life *life))
{
    struct loop *io = home(life->api)->io;
    if (life->api->changes->idle) {
        life_abandon(life);
        return;
    }
    life->next = next;
    life->waits = true;
    life->timer.fired = timer_fired;
    timer_arm(io, &life->timer, mono_add_ms(loop_now(io), ms));
}

static void life_retry(struct life *life, const char *what, int status, void (*next)(struct life *life))
{
    diag(DIAG_ERROR, "stream_change_failed", "stream=%s step=%s error=%s", life->row.name, what, status_name(status));
    life_wait(life, RETRY_MS, next);
}

/* ---- telling the loops ------------------------------------------------------------------------------------------------ */

static void tell_back(struct io_msg *m)
{
    struct life_msg *msg = CONTAINER_OF(m, struct life_msg, msg);
    struct life *life = msg->life;
    if (msg->status < 0)
        life->tell_status = msg->status;
    if (--life->acks_left == 0)
        life->next(life);
}

static void tell_ack(struct life_msg *m)
{
    api_send(m->loop, home(m->life->api), &m->msg, tell_back);
}

static void tell_arrived(struct io_msg *m)
{
    struct life_msg *msg = CONTAINER_OF(m, struct life_msg, msg);
    msg->life->tell(msg);
}

/* Runs `tell` on each loop, then `next` here with life->tell_status set. */
static void life_tell(struct life *life, void (*tell)(struct life_msg *m), void (*next)(struct life *life))
{
    struct api *api = life->api;
    life->tell = tell;
    life->next = next;
    life->tell_status = 0;
    uint32_t loops = api->loop_count; /* the last ack may free `life` */
    life->acks_left = loops;
    for (uint32_t i = 0; i < loops; i++) {
        life->msg[i] = (struct life_msg){.life = life, .loop = &api->loop[i]};
        api_send(home(api), &api->loop[i], &life->msg[i].msg, tell_arrived);
    }
}

int stream_apply(struct api_loop *l, const struct catalog_stream *row, const struct catalog_shard *shards,
                 uint32_t count)
{
    struct log_retention retention = {row->retention_ms, row->retention_bytes};
    for (uint32_t i = 0; i < count; i++) {
        if (api_shard_owner(l->api, shards[i].uid) != l->index)
            continue;
        if (shards[i].state == SHARD_DELETING || row->status == STREAM_DELETING)
            continue;
        struct log_shard *shard = log_shard_find(l->log, shards[i].uid);
        if (!shard) {
            int status = log_shard_create(l->log, shards[i].uid, &shard);
            if (status < 0)
                return status;
        }
        log_shard_retain(shard, &retention);
    }
    return 0;
}

static void tell_put_here(struct life_msg *m)
{
    struct life *life = m->life;
    struct api_loop *l = m->loop;
    m->status = stream_apply(l, &life->row, life->shards, life->shard_count);
    if (m->status >= 0)
        m->status = registry_put(&l->registry, &life->row, life->shards, life->shard_count);
    stream_changed(l, life->row.uid);
    tell_ack(m);
}

static void tell_gone_here(struct life_msg *m)
{
    registry_remove(&m->loop->registry, m->life->row.uid);
    stream_changed(m->loop, m->life->row.uid);
    tell_ack(m);
}

static void log_removed(struct log_remove *r)
{
    struct life_remove *remove = CONTAINER_OF(r, struct life_remove, log);
    struct life_msg *m = remove->msg;
    if (r->status < 0)
        m->status = r->status;
    if (--m->removes_left == 0)
        tell_ack(m);
}

static void tell_remove_here(struct life_msg *m)
{
    struct life *life = m->life;
    m->removes_left = 1;
    for (uint32_t i = 0; i < life->shard_count; i++) {
        uint64_t uid = life->shards[i].uid;
        struct log_shard *shard = log_shard_find(m->loop->log, uid);
        if (api_shard_owner(life->api, uid) != m->loop->index || !shard)
            continue;
        struct life_remove *remove = &life->removes[i];
        remove->msg = m;
        remove->log.done = log_removed;
        m->removes_left++;
        shard_limits_forget(m->loop, uid);
        log_shard_remove(shard, &remove->log);
    }
    if (--m->removes_left == 0)
        tell_ack(m);
}

/* ---- answers and ends ------------------------------------------------------------------------------------------------- */

static void answer_here(struct io_msg *m)
{
    struct api_change *c = CONTAINER_OF(m, struct api_change, msg);
    c->done(c);
}

static void answer(struct api *api, struct api_change *c, const struct catalog_stream *row, int status,
                   const char *what)
{
    if (!c)
        return;
    c->status = status;
    if (status < 0)
        err_set_status(&c->err, status, "%s stream '%s'", what, c->stream.name);
    else
        c->stream = *row;
    api_send(home(api), c->home, &c->msg, answer_here);
}

static void answer_request(struct life *life, int status, const char *what)
{
    struct api_change *c = life->request;
    life->request = NULL;
    answer(life->api, c, &life->row, status, what);
}

static void life_end(struct life *life)
{
    struct api *api = life->api;
    CHECK(!life->request && !life->remove);
    list_remove(&life->link);
    free(life->shards);
    free(life->removes);
    free(life);
    if (list_empty(&api->changes->lives) && api->changes->idle)
        api->changes->idle(api);
}

/* The daemon stops: a restart takes the change up where it is. */
static void life_abandon(struct life *life)
{
    struct api_change *remove = life->remove;
    life->remove = NULL;
    answer_request(life, ST_CLOSED, "change");
    answer(life->api, remove, NULL, ST_CLOSED, "delete");
    life_end(life);
}

static struct life *life_create(struct api *api, const struct catalog_stream *row, const struct catalog_shard *shards,
                                uint32_t shard_count)
{
    struct life *life = calloc(1, sizeof(*life) + api->loop_count * sizeof(life->msg[0]));
    if (!life)
        return NULL;
    life->api = api;
    life->uid = row->uid;
    life->row = *row;
    life->shard_count = shard_count;
    life->shards = calloc(shard_count ? shard_count : 1, sizeof(*life->shards));
    life->removes = calloc(shard_count ? shard_count : 1, sizeof(*life->removes));
    if (!life->shards || !life->removes) {
        free(life->shards);
        free(life->removes);
        free(life);
        return NULL;
    }
    if (shards)
        memcpy(life->shards, shards, shard_count * sizeof(*shards));
    list_push_back(&api->changes->lives, &life->link);
    return life;
}

static struct life *life_find(struct api *api, uint64_t stream_uid)
{
    LIST_FOREACH (it, &api->changes->lives) {
        struct life *life = CONTAINER_OF(it, struct life, link);
        if (life->uid == stream_uid)
            return life;
    }
    return NULL;
}

/* ---- delete ----------------------------------------------------------------------------------------------------------- */

static void delete_drop(struct life *life);
static void activate(struct life *life);

static void delete_gone(struct life *life)
{
    life_end(life);
}

static void delete_dropped(struct life *life)
{
    if (life->status < 0 && life->status != ST_NOT_FOUND) {
        life_retry(life, "drop_row", life->status, delete_drop);
        return;
    }
    life_tell(life, tell_gone_here, delete_gone);
}

static void delete_drop(struct life *life)
{
    life_work(life, drop_row_work, delete_dropped);
}

static void delete_remove_logs(struct life *life);

static void delete_logs_removed(struct life *life)
{
    if (life->tell_status < 0)
        life_retry(life, "remove_logs", life->tell_status, delete_remove_logs);
    else if (life->api->options.delete_delay_ms && !life->resumed)
        life_wait(life, life->api->options.delete_delay_ms, delete_drop);
    else
        delete_drop(life);
}

static void delete_remove_logs(struct life *life)
{
    life_tell(life, tell_remove_here, delete_logs_removed);
}

static void delete_tell(struct life *life);

static void delete_told(struct life *life)
{
    if (life->tell_status < 0) {
        life_retry(life, "tell", life->tell_status, delete_tell);
        return;
    }
    struct api_change *c = life->remove;
    life->remove = NULL;
    answer(life->api, c, &life->row, 0, "delete");
    delete_remove_logs(life);
}

static void delete_tell(struct life *life)
{
    life_tell(life, tell_put_here, delete_told);
}

static void delete_marked(struct life *life)
{
    if (life->status < 0) {
        struct api_change *c = life->remove;
        life->remove = NULL;
        life->deleting = false;
        answer(life->api, c, &life->row, life->status, "delete");
        if (life->row.status == STREAM_CREATING)
            activate(life);
        else
            life_end(life);
        return;
    }
    life->row.status = STREAM_DELETING;
    for (uint32_t i = 0; i < life->shard_count; i++)
        life->shards[i].state = SHARD_DELETING;
    delete_tell(life);
}

static void delete_mark(struct life *life)
{
    life->deleting = true;
    life_work(life, mark_row_work, delete_marked);
}

/* ---- create, update --------------------------------------------------------------------------------------------------- */

static void change_told(struct life *life);

static void change_tell(struct life *life)
{
    life_tell(life, tell_put_here, change_told);
}

static void change_told(struct life *life)
{
    if (life->tell_status < 0) {
        life_retry(life, "tell", life->tell_status, change_tell);
        return;
    }
    answer_request(life, 0, "change");
    if (life->remove)
        delete_mark(life);
    else
        life_end(life);
}

static void activated(struct life *life)
{
    if (life->status < 0)
        life_retry(life, "activate_row", life->status, activate);
    else
        change_tell(life);
}

static void activate(struct life *life)
{
    life->row.status = STREAM_ACTIVE;
    for (uint32_t i = 0; i < life->shard_count; i++)
        life->shards[i].state = SHARD_OPEN;
    life_work(life, activate_row_work, activated);
}

static void create_tell(struct life *life);

static void created(struct life *life)
{
    if (life->tell_status < 0) {
        life_retry(life, "make_logs", life->tell_status, create_tell);
        return;
    }
    if (life->request && !life->request->wait_active)
        answer_request(life, 0, "create");
    if (life->remove) {
        answer_request(life, ST_CONFLICT, "create");
        delete_mark(life);
    } else if (life->api->options.create_delay_ms && !(life->request && life->request->wait_active)) {
        life_wait(life, life->api->options.create_delay_ms, activate);
    } else {
        activate(life);
    }
}

static void create_tell(struct life *life)
{
    life_tell(life, tell_put_here, created);
}

static void create_added(struct life *life)
{
    if (life->status < 0) {
        answer_request(life, life->status, "create");
        CHECK(!life->remove);
        life_end(life);
        return;
    }
    life->uid = life->row.uid;
    create_tell(life);
}

static void create_shards(struct life *life, struct wall_ms created)
{
    for (uint32_t i = 0; i < life->shard_count; i++) {
        struct hash_range range = hash_range_split(i, life->shard_count);
        life->shards[i] = (struct catalog_shard){
            .index = i,
            .state = SHARD_CREATING,
            .first_hash = range.first,
            .last_hash = range.last,
            .parent = -1,
            .adjacent_parent = -1,
            .created = {created.ms / 1000 * 1000},
            .end_counter = UINT64_MAX,
        };
    }
}

static int create_start(struct api *api, struct api_change *c)
{
    const struct registry *r = &home(api)->registry;
    uint32_t max = api->options.shards_max;
    if (registry_find(r, slice_str(c->stream.name)))
        return ST_EXISTS;
    if (!c->shard_count || (!c->stream.internal && (c->shard_count > max || r->shard_count > max - c->shard_count)))
        return ST_LIMIT;
    struct wall_ms now = loop_wall(home(api)->io);
    struct catalog_stream row = c->stream;
    row.uid = 0;
    row.status = STREAM_CREATING;
    row.created = now;
    row.next_shard_index = c->shard_count;
    struct life *life = life_create(api, &row, NULL, c->shard_count);
    if (!life)
        return -ENOMEM;
    create_shards(life, now);
    life->request = c;
    life_work(life, add_row_work, create_added);
    return 0;
}

static void update_written(struct life *life)
{
    if (life->status < 0) {
        answer_request(life, life->status, "update");
        if (life->remove)
            delete_mark(life);
        else
            life_end(life);
        return;
    }
    change_tell(life);
}

/* The machine of an existing stream, at rest so far. */
static struct life *life_of_stream(struct api *api, const struct registry_stream *s)
{
    struct life *life = life_create(api, &s->row, NULL, s->shard_count);
    for (uint32_t i = 0; life && i < s->shard_count; i++)
        life->shards[i] = s->shard[i].row;
    return life;
}

static int update_start(struct api *api, struct api_change *c)
{
    const struct registry_stream *s = registry_find(&home(api)->registry, slice_str(c->stream.name));
    if (!s)
        return ST_NOT_FOUND;
    if (life_find(api, s->row.uid) || s->row.status != STREAM_ACTIVE)
        return ST_CONFLICT;
    struct life *life = life_of_stream(api, s);
    if (!life)
        return -ENOMEM;
    life->row.mode = c->stream.mode;
    life->row.retention_ms = c->stream.retention_ms;
    life->row.retention_bytes = c->stream.retention_bytes;
    life->row.record_bytes_max = c->stream.record_bytes_max;
    life->request = c;
    life_work(life, update_row_work, update_written);
    return 0;
}

static int delete_start(struct api *api, struct api_change *c)
{
    const struct registry_stream *s = registry_find(&home(api)->registry, slice_str(c->stream.name));
    if (!s)
        return ST_NOT_FOUND;
    struct life *life = life_find(api, s->row.uid);
    if (s->row.status == STREAM_DELETING || (life && (life->deleting || life->remove)))
        return ST_CONFLICT;
    if (life) {
        life->remove = c;
        if (life->waits && life->row.status == STREAM_CREATING) {
            timer_disarm(home(api)->io, &life->timer);
            life->waits = false;
            answer_request(life, ST_CONFLICT, "create");
            delete_mark(life);
        }
        return 0;
    }
    life = life_of_stream(api, s);
    if (!life)
        return -ENOMEM;
    life->remove = c;
    delete_mark(life);
    return 0;
}

/* ---- the interface ------------------------------------------------------------------------------------------------------ */

enum change_kind { CHANGE_CREATE, CHANGE_DELETE, CHANGE_UPDATE };

static void change_arrived(struct io_msg *m)
{
    struct api_change *c = CONTAINER_OF(m, struct api_change, msg);
    struct api *api = c->home->api;
    int status = ST_CLOSED;
    if (!api->changes->idle)
        status = c->kind == CHANGE_CREATE   ? create_start(api, c)
                 : c->kind == CHANGE_DELETE ? delete_start(api, c)
                                            : update_start(api, c);
    if (status < 0)
        answer(api, c, NULL, status,
               c->kind == CHANGE_CREATE   ? "create"
               : c->kind == CHANGE_DELETE ? "delete"
                                          : "update");
}

static void change_send(struct api_loop *l, struct api_change *c, enum change_kind kind)
{
    c->home = l;
    c->kind = (uint8_t)kind;
    c->status = 0;
    c->err.code = 0;
    api_send(l, home(l->api), &c->msg, change_arrived);
}

void api_stream_create(struct api_loop *l, struct api_change *c)
{
    change_send(l, c, CHANGE_CREATE);
}

void api_stream_delete(struct api_loop *l, struct api_change *c)
{
    change_send(l, c, CHANGE_DELETE);
}

void api_stream_update(struct api_loop *l, struct api_change *c)
{
    change_send(l, c, CHANGE_UPDATE);
}

int changes_create(struct api *api)
{
    api->changes = calloc(1, sizeof(*api->changes));
    if (!api->changes)
        return -ENOMEM;
    list_init(&api->changes->lives);
    list_init(&api->changes->jobs);
    return 0;
}

void changes_destroy(struct api *api)
{
    free(api->changes);
    api->changes = NULL;
}

int changes_resume(struct api *api)
{
    const struct registry *r = &home(api)->registry;
    struct list found;
    list_init(&found);
    for (uint32_t i = 0; i < r->count; i++) {
        const struct registry_stream *s = r->by_name[i];
        if (s->row.status != STREAM_CREATING && s->row.status != STREAM_DELETING)
            continue;
        struct life *life = life_of_stream(api, s);
        if (!life)
            return -ENOMEM;
        life->resumed = true;
    }
    list_splice_back(&found, &api->changes->lives); /* the registry changes as they run */
    for (struct list *it; (it = list_pop_front(&found));) {
        struct life *life = CONTAINER_OF(it, struct life, link);
        list_push_back(&api->changes->lives, &life->link);
        life->deleting = life->row.status == STREAM_DELETING;
        if (life->deleting)
            delete_remove_logs(life);
        else
            activate(life);
    }
    return 0;
}

void changes_drain(struct api *api, void (*idle)(struct api *api))
{
    struct list waiting;
    list_init(&waiting);
    LIST_FOREACH_SAFE (it, &api->changes->lives) {
        struct life *life = CONTAINER_OF(it, struct life, link);
        if (!life->waits)
            continue;
        timer_disarm(home(api)->io, &life->timer);
        list_remove(&life->link);
        list_push_back(&waiting, &life->link);
    }
    for (struct list *it; (it = list_pop_front(&waiting));)
        life_abandon(CONTAINER_OF(it, struct life, link));
    api->changes->idle = idle;
    if (list_empty(&api->changes->lives))
        idle(api);
}

/* Where io_uring_setup is blocked by seccomp, as Docker's default profile does, LOOP_AUTO gives a libuv loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/io/loop.h"

/* For this process and for good. */
static int uring_block(int with_errno)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)with_errno),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_COUNT(code), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

struct stopper {
    struct io_timer timer;
    struct loop *loop;
};

static void stopper_fired(struct io_timer *t)
{
    loop_stop(CONTAINER_OF(t, struct stopper, timer)->loop);
}

/* In a child process: 0, or the number of the check that failed. */
static int blocked_main(int with_errno)
{
    struct loop *loop = NULL;
    struct err e = {0};
    if (uring_block(with_errno) < 0)
        return 1;
    if (loop_create(&(struct loop_options){.kind = LOOP_URING}, &loop, &e) != -with_errno || loop)
        return 2;
    if (e.code != -with_errno || e.text[0] == '\0')
        return 3;
    if (loop_create(&(struct loop_options){.kind = LOOP_AUTO}, &loop, &e) != 0)
        return 4;
    if (strcmp(loop_backend_name(loop), "libuv") != 0 || loop_fallback_errno(loop) != with_errno)
        return 5;
    struct stopper s = {.timer.fired = stopper_fired, .loop = loop};
    timer_arm(loop, &s.timer, mono_add_ms(loop_now(loop), 1));
    if (loop_run(loop) != 0)
        return 6;
    loop_destroy(loop);
    return 0;
}

static void check_in_child(int with_errno)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(blocked_main(with_errno));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void eperm_makes_auto_fall_back_to_libuv(void **state)
{
    check_in_child(EPERM);
}

static void enosys_makes_auto_fall_back_to_libuv(void **state)
{
    check_in_child(ENOSYS);
}

static void nothing_blocked_means_no_fallback(void **state)
{
    struct loop *loop = NULL;
    struct err e = {0};
    assert_int_equal(loop_create(&(struct loop_options){.kind = LOOP_LIBUV}, &loop, &e), 0);
    assert_int_equal(loop_fallback_errno(loop), 0);
    assert_string_equal(loop_backend_name(loop), "libuv");
    loop_destroy(loop);
    loop_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eperm_makes_auto_fall_back_to_libuv),
        cmocka_unit_test(enosys_makes_auto_fall_back_to_libuv),
        cmocka_unit_test(nothing_blocked_means_no_fallback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

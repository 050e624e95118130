/*
 * sluice inspect: verifies a data directory without a daemon, with the log's own verifier on a loop of its own. It changes
 * nothing, and holds the directory's lock meanwhile, so that no daemon writes there: one that runs is named and nothing
 * is looked at. The lock file may be missing (a copy, a backup).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "broker/log/log_inspect.h"
#include "client/cli.h"

#define PATH_BYTES 4096

static const char help[] =
    "sluice inspect DIR\n"
    "\n"
    "Verifies the data directory of a daemon that is not running: every journal, segment and index. It reads all of it "
    "and\n"
    "changes nothing. What it finds, a line each, with file and byte:\n"
    "\n"
    "  damage   what was on stable storage is damaged or missing: the exit status is 1\n"
    "  torn     a write that never completed, as a power cut leaves it: the next start cuts it off\n"
    "  note     harmless: the next start puts it right\n"
    "\n"
    "--json prints {\"finding\": {...}}, {\"shard\": {...}} and at the end {\"summary\": {...}}, a line each.\n";

struct inspect_run {
    struct log_inspect inspect;
    struct loop *loop;
    const struct cli *cli;
};

static void json_member(const char *name, const char *text)
{
    printf("\"%s\":", name);
    cli_print_json_string(text, strlen(text));
}

static void found(struct log_inspect *i, const struct log_finding *f)
{
    static const char *const names[] = {[LOG_NOTE] = "note", [LOG_TORN] = "torn", [LOG_DAMAGE] = "damage"};
    struct inspect_run *run = CONTAINER_OF(i, struct inspect_run, inspect);
    if (!run->cli->json) {
        printf("%-7s %s, byte %llu: %s\n", names[f->severity], f->file, (unsigned long long)f->offset, f->what);
        return;
    }
    printf("{\"finding\":{\"severity\":\"%s\",", names[f->severity]);
    json_member("file", f->file);
    printf(",\"offset\":%llu,", (unsigned long long)f->offset);
    json_member("what", f->what);
    puts("}}");
}

static void shard_told(struct log_inspect *i, const struct log_shard_report *s)
{
    struct inspect_run *run = CONTAINER_OF(i, struct inspect_run, inspect);
    printf(run->cli->json
               ? "{\"shard\":{\"uid\":%llu,\"first\":%llu,\"next\":%llu,\"records\":%llu,\"bytes\":%llu,"
                 "\"segments\":%llu,\"journaled\":%llu,\"damages\":%llu}}\n"
               : "shard %llu: records from %llu to before %llu; there are %llu (%llu bytes) in %llu segments, "
                 "%llu of them in the journal only; %llu damages\n",
           (unsigned long long)s->uid, (unsigned long long)s->first_counter, (unsigned long long)s->next_counter,
           (unsigned long long)s->records, (unsigned long long)s->bytes, (unsigned long long)s->segments,
           (unsigned long long)s->journaled, (unsigned long long)s->damages);
}

static void inspect_done(struct log_inspect *i)
{
    loop_stop(CONTAINER_OF(i, struct inspect_run, inspect)->loop);
}

static void summary_print(const struct inspect_run *run)
{
    const struct log_inspect *i = &run->inspect;
    printf(run->cli->json
               ? "{\"summary\":{\"shards\":%llu,\"segments\":%llu,\"journals\":%llu,\"records\":%llu,\"bytes\":%llu,"
                 "\"damages\":%llu,\"torn\":%llu,\"notes\":%llu}}\n"
               : "%llu shards, %llu segments, %llu journals, %llu records, %llu bytes: %llu damages, %llu torn, %llu "
                 "notes\n",
           (unsigned long long)i->shards, (unsigned long long)i->segments, (unsigned long long)i->journals,
           (unsigned long long)i->records, (unsigned long long)i->bytes, (unsigned long long)i->damages,
           (unsigned long long)i->torn, (unsigned long long)i->notes);
}

/* A descriptor that holds the lock; -1: there is none to hold; -2: a daemon has it, which has been said. */
static int directory_hold(const char *dir)
{
    char path[PATH_BYTES], pid[32] = "";
    if (snprintf(path, sizeof path, "%s/lock", dir) >= (int)sizeof path)
        return -1; /* the verifier says what is wrong with the name */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return fd;
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    pid[n > 0 ? strcspn(pid, "\n") : 0] = 0;
    close(fd);
    fprintf(stderr, "sluice: %s: a daemon is running there, process %s: stop it first\n", dir,
            pid[0] ? pid : "unknown");
    return -2;
}

static int inspect_run(struct inspect_run *run)
{
    struct err e = {0};
    int rc = loop_create(&(struct loop_options){.workers = 1}, &run->loop, &e);
    if (rc == 0) {
        rc = log_inspect_start(run->loop, &run->inspect);
        if (rc == 0)
            rc = loop_run(run->loop);
        loop_destroy(run->loop);
    }
    if (rc < 0) {
        fprintf(stderr, "sluice: %s\n", e.text[0] ? e.text : status_text(rc));
        return 1;
    }
    if (run->inspect.status < 0) {
        const char *why = run->inspect.err.text;
        fprintf(stderr, "sluice: %s\n", why[0] ? why : status_text(run->inspect.status));
        return 1;
    }
    summary_print(run);
    return run->inspect.damages ? 1 : 0;
}

int cmd_inspect(struct cli *cli)
{
    if (cli_words(cli, 1, help) == CLI_STOP)
        return cli->status;
    struct inspect_run run = {
        .cli = cli, .inspect = {.done = inspect_done, .finding = found, .shard = shard_told, .dir = cli->argv[optind]}};
    int hold = directory_hold(cli->argv[optind]);
    if (hold == -2)
        return 1;
    int status = inspect_run(&run);
    if (hold >= 0)
        close(hold);
    return status;
}

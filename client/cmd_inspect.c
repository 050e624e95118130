/*
 * sluice inspect DIR: verifies a data directory with the log's own verifier (broker/log/log_inspect.h), on a loop of its
 * own, while no daemon holds it. Nothing is changed, no lock is kept: whether a daemon runs is asked before and after.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "broker/log/log_inspect.h"
#include "client/cli.h"

static const char help[] =
    "sluice inspect DIR\n"
    "\n"
    "Verifies sluiced's data directory DIR, while no daemon runs on it: every journal and segment, their checksums, "
    "that\n"
    "nothing is missing. Prints what is wrong as FILE: byte N: what, and a table of the shards. Changes nothing.\n"
    "\n"
    "  note:   harmless, the next start puts it right\n"
    "  torn:   the end of what was being written when the daemon or the machine stopped; never acknowledged\n"
    "  others: damage. The next start serves the shard up to it, takes no more records for it, and keeps the evidence\n"
    "\n"
    "--json prints objects, one a line: {\"finding\": ...}, {\"shard\": ...}, at last {\"total\": ...}.\n"
    "Exit status: 0 nothing is wrong (notes and torn ends aside), 1 something is, or DIR cannot be read or is in "
    "use.\n";

struct inspection {
    struct log_inspect inspect;
    struct loop *loop;
    const struct cli *cli;
    bool table;
};

/* Whether a daemon holds the directory: 1 and it has said so, 0, or -errno. */
static int in_use(const char *dir, const char *when)
{
    char path[4096], pid[32] = "";
    if (snprintf(path, sizeof path, "%s/lock", dir) >= (int)sizeof path)
        return -ENAMETOOLONG;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    int rc = 0;
    if (flock(fd, LOCK_SH | LOCK_NB) < 0) {
        rc = errno == EWOULDBLOCK ? 1 : -errno;
        ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
        pid[n > 0 ? strcspn(pid, "\n") : 0] = 0;
    }
    close(fd); /* gives the lock up */
    if (rc == 1)
        fprintf(stderr, "sluice: %s %s by sluiced, process %s; stop it first\n", dir, when, pid[0] ? pid : "unknown");
    return rc;
}

static void print_finding(struct log_inspect *i, const struct log_finding *f)
{
    static const char *const names[] = {[LOG_NOTE] = "note", [LOG_TORN] = "torn", [LOG_DAMAGE] = "damage"};
    const struct inspection *n = i->private;
    if (!n->cli->json) {
        printf("%s: byte %" PRIu64 ": %s%s%s\n", f->file, f->offset,
               f->severity == LOG_DAMAGE ? "" : names[f->severity], f->severity == LOG_DAMAGE ? "" : ": ", f->what);
        return;
    }
    printf("{\"finding\":{\"severity\":\"%s\",\"file\":", names[f->severity]);
    cli_print_json_string(f->file, strlen(f->file));
    printf(",\"offset\":%" PRIu64 ",\"what\":", f->offset);
    cli_print_json_string(f->what, strlen(f->what));
    puts("}}");
}

static void print_shard(struct log_inspect *i, const struct log_shard_report *s)
{
    struct inspection *n = i->private;
    if (n->cli->json) {
        printf("{\"shard\":{\"uid\":\"%016" PRIx64 "\",\"first\":%" PRIu64 ",\"next\":%" PRIu64 ",\"records\":%" PRIu64
               ",\"journaled\":%" PRIu64 ",\"segments\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"damages\":%" PRIu64 "}}\n",
               s->uid, s->first_counter, s->next_counter, s->records, s->journaled, s->segments, s->bytes, s->damages);
        return;
    }
    if (!n->table)
        printf("%-16s %16s %16s %12s %12s %9s %16s  %s\n", "shard", "first", "next", "records", "journaled", "segments",
               "bytes", "damages");
    n->table = true;
    printf("%016" PRIx64 " %16" PRIu64 " %16" PRIu64 " %12" PRIu64 " %12" PRIu64 " %9" PRIu64 " %16" PRIu64 "  %" PRIu64
           "\n",
           s->uid, s->first_counter, s->next_counter, s->records, s->journaled, s->segments, s->bytes, s->damages);
}

static void print_total(const struct inspection *n)
{
    const struct log_inspect *i = &n->inspect;
    if (n->cli->json) {
        printf("{\"total\":{\"shards\":%" PRIu64 ",\"journals\":%" PRIu64 ",\"segments\":%" PRIu64
               ",\"sidecars\":%" PRIu64 ",\"records\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"notes\":%" PRIu64
               ",\"torn\":%" PRIu64 ",\"damages\":%" PRIu64 "}}\n",
               i->shards, i->journals, i->segments, i->sidecars, i->records, i->bytes, i->notes, i->torn, i->damages);
        return;
    }
    printf("shards %" PRIu64 ", journals %" PRIu64 ", segments %" PRIu64 ", records %" PRIu64 ": ", i->shards,
           i->journals, i->segments, i->records);
    if (i->damages)
        printf("%" PRIu64 " found damaged\n", i->damages);
    else
        puts("all is well");
}

static void inspected(struct log_inspect *i)
{
    loop_stop(((struct inspection *)i->private)->loop);
}

static int failed(const char *dir, int status, const struct err *e)
{
    fprintf(stderr, "sluice: inspect: %s\n", e && e->code ? e->text : status_text(status));
    if (status == -EACCES)
        fprintf(stderr, "        %s belongs to the daemon's user: try it as that one, or as root\n", dir);
    return 1;
}

static int inspect_dir(struct cli *cli, const char *dir)
{
    struct err e = {0};
    struct inspection n = {
        .cli = cli,
        .inspect = {.done = inspected, .finding = print_finding, .shard = print_shard, .dir = dir, .private = &n}};
    int status = loop_create(&(struct loop_options){.kind = LOOP_AUTO, .workers = 1}, &n.loop, &e);
    if (status < 0)
        return failed(dir, status, &e);
    status = log_inspect_start(n.loop, &n.inspect);
    if (status == 0)
        status = loop_run(n.loop);
    loop_destroy(n.loop);
    if (status < 0)
        return failed(dir, status, NULL);
    if (n.inspect.status < 0)
        return failed(dir, n.inspect.status, &n.inspect.err);
    print_total(&n);
    return n.inspect.damages ? 1 : 0;
}

int cmd_inspect(struct cli *cli)
{
    static const struct option options[] = {CLI_COMMON};
    if (cli_option(cli, options, help) == CLI_STOP)
        return cli->status;
    if (cli->argc - optind != 1)
        return cli_usage("inspect takes one data directory");
    const char *dir = cli->argv[optind];
    int used = in_use(dir, "is in use");
    if (used < 0)
        return failed(dir, used, NULL);
    if (used)
        return 1;
    int status = inspect_dir(cli, dir);
    used = in_use(dir, "has meanwhile been taken");
    return used ? 1 : status;
}

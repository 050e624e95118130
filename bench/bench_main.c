/* sluice-bench: parses the command line, runs one benchmark, prints its result. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <ftw.h>

#include "bench/bench.h"
#include "common/base/slice.h"

static const char usage[] = "sluice-bench BENCHMARK [OPTIONS]\n"
                            "\n"
                            "  log      append straight on the log engine, acknowledged after the sync\n"
                            "  files    its peer: a file a shard, one write and one fdatasync each\n"
                            "  put      PutRecords over HTTP with SigV4 on, against a daemon of its own\n"
                            "  get      GetRecords over HTTP, the same\n"
                            "\n"
                            "  --record BYTES       size of a record                      (log 1024, put 200)\n"
                            "  --batch BYTES        bytes of one append                   (log 1048576)\n"
                            "  --records N          records of one request                (put 500)\n"
                            "  --shards N           (1)\n"
                            "  --in-flight N        appends in flight a shard             (4)\n"
                            "  --connections N      for put and get                       (4)\n"
                            "  --seconds S          (5)\n"
                            "  --sync MODE          batch, interval:<ms> or never         (batch)\n"
                            "  --read               log: read everything back afterwards, and time that\n"
                            "  --dir DIR            where the data lies                   (a temporary folder)\n"
                            "  --daemon PATH        sluiced                               (beside this program)\n"
                            "  --json               one JSON object instead of the table\n";

void bench_die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("sluice-bench: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

uint64_t bench_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double bench_now(void)
{
    return (double)bench_now_ns() / 1e9;
}

double bench_cpu(int pid)
{
    if (pid == 0) {
        struct rusage u;
        getrusage(RUSAGE_SELF, &u);
        return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    }
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    unsigned long user = 0, system_time = 0;
    const char *after = strrchr(text, ')');
    if (!after || sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system_time) != 2)
        return 0;
    return (double)(user + system_time) / (double)sysconf(_SC_CLK_TCK);
}

const char *bench_folder(const struct bench_params *p)
{
    static char path[512];
    const char *top = p->dir ? p->dir : getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/sluice-bench.XXXXXX", top ? top : "/tmp");
    if (!mkdtemp(path))
        bench_die("%s: %m", path);
    return path;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void bench_folder_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void machine_name(char *out, size_t size)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(out, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && value) {
            value[strcspn(value, "\n")] = 0;
            snprintf(out, size, "%s", value + 2);
            break;
        }
    }
    if (f)
        fclose(f);
}

void bench_print(const struct bench_params *p, const struct bench_result *r)
{
    char machine[128];
    machine_name(machine, sizeof machine);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    double rate = (double)r->records / r->seconds, mb = (double)r->bytes / 1e6 / r->seconds;
    double p50 = (double)histogram_quantile(&r->latency_ns, 0.5) / 1e6;
    double p99 = (double)histogram_quantile(&r->latency_ns, 0.99) / 1e6;
    double p999 = (double)histogram_quantile(&r->latency_ns, 0.999) / 1e6;
    double cpu_us = r->records ? r->cpu_seconds * 1e6 / (double)r->records : 0;
    if (p->json) {
        printf("{\"benchmark\":\"%s\",\"machine\":\"%s\",\"cpus\":%ld,\"version\":\"%s\",\"commit\":\"%s\",\"sync\":\"%"
               "s\","
               "\"record_bytes\":%u,\"batch_bytes\":%u,\"batch_records\":%u,\"shards\":%u,\"in_flight\":%u,"
               "\"connections\":%u,"
               "\"seconds\":%.3f,\"records\":%llu,\"operations\":%llu,\"records_per_s\":%.0f,\"operations_per_s\":%.0f,"
               "\"mb_per_s\":%.2f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"cpu_us_per_record\":%.3f}\n",
               r->name, machine, cpus, SLUICE_VERSION, SLUICE_COMMIT, p->sync, p->record_bytes, p->batch_bytes,
               p->batch_records, p->shards, p->in_flight, p->connections, r->seconds, (unsigned long long)r->records,
               (unsigned long long)r->operations, rate, (double)r->operations / r->seconds, mb, p50, p99, p999, cpu_us);
        return;
    }
    printf("%-10s %s, %ld CPUs, commit %s, sync %s\n", r->name, machine, cpus, SLUICE_COMMIT, p->sync);
    printf("           record %u B, batch %u B / %u records, %u shards, %u in flight, %u connections, %.1f s\n",
           p->record_bytes, p->batch_bytes, p->batch_records, p->shards, p->in_flight, p->connections, r->seconds);
    printf("  %12.0f records/s  %10.1f MB/s  %9.0f operations/s\n", rate, mb, (double)r->operations / r->seconds);
    printf("  p50 %.3f ms   p99 %.3f ms   p999 %.3f ms   %.3f CPU us a record\n", p50, p99, p999, cpu_us);
}

static uint32_t number(const char *text)
{
    char *end;
    errno = 0;
    unsigned long v = strtoul(text, &end, 10);
    if (errno || *end || end == text || v == 0 || v > 1u << 30)
        bench_die("'%s' is not a positive number", text);
    return (uint32_t)v;
}

static void parse(int argc, char **argv, struct bench_params *p)
{
    static const struct option options[] = {
        {"record", 1, NULL, 'r'},  {"batch", 1, NULL, 'b'},     {"records", 1, NULL, 'n'},
        {"shards", 1, NULL, 's'},  {"in-flight", 1, NULL, 'f'}, {"connections", 1, NULL, 'c'},
        {"seconds", 1, NULL, 't'}, {"sync", 1, NULL, 'y'},      {"dir", 1, NULL, 'd'},
        {"daemon", 1, NULL, 'D'},  {"json", 0, NULL, 'j'},      {"read", 0, NULL, 'R'},
        {"help", 0, NULL, 'h'},    {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'r':
            p->record_bytes = number(optarg);
            break;
        case 'b':
            p->batch_bytes = number(optarg);
            break;
        case 'n':
            p->batch_records = number(optarg);
            break;
        case 's':
            p->shards = number(optarg);
            break;
        case 'f':
            p->in_flight = number(optarg);
            break;
        case 'c':
            p->connections = number(optarg);
            break;
        case 't':
            p->seconds = strtod(optarg, NULL);
            break;
        case 'y':
            p->sync = optarg;
            break;
        case 'd':
            p->dir = optarg;
            break;
        case 'D':
            p->daemon = optarg;
            break;
        case 'j':
            p->json = true;
            break;
        case 'R':
            p->read = true;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(const struct bench_params *p);
        uint32_t record_bytes, batch_records;
    } benchmarks[] = {
        {"log", bench_log, 1024, 0},
        {"files", bench_files, 1024, 0},
        {"put", bench_put, 200, 500},
        {"get", bench_get, 200, 500},
    };
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(usage, argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    for (size_t i = 0; i < ARRAY_COUNT(benchmarks); i++) {
        if (strcmp(argv[1], benchmarks[i].name) != 0)
            continue;
        struct bench_params p = {.sync = "batch",
                                 .record_bytes = benchmarks[i].record_bytes,
                                 .batch_bytes = 1 << 20,
                                 .batch_records = benchmarks[i].batch_records,
                                 .shards = 1,
                                 .in_flight = 4,
                                 .connections = 4,
                                 .seconds = 5};
        parse(argc - 1, argv + 1, &p);
        benchmarks[i].run(&p);
        return 0;
    }
    fprintf(stderr, "sluice-bench: there is no benchmark '%s'\n%s", argv[1], usage);
    return 2;
}

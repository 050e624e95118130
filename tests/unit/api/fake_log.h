/* The handles of the log in memory (fake_log.c). */
#ifndef SLUICE_TESTS_FAKE_LOG_H
#define SLUICE_TESTS_FAKE_LOG_H

#include "broker/log/log.h"

struct fake_log_control {
    int open_status;
    uint32_t create_failures; /* so many log_shard_create fail with -ENOMEM */
    uint64_t refuse_uid;      /* log_append on this shard (UINT64_MAX: any) returns refuse_status */
    int refuse_status;
    int append_status; /* < 0: appends fail with it, later */
    int read_status;   /* < 0: reads fail with it */
    /* seen: */
    uint32_t append_calls, removed;
    size_t live_count, deleting_count;
    int lent; /* blocks not given back */
    struct log *log[8];
    struct log_need *need;
    /* private: */
    struct log_remove *removing[64];
    struct log *removing_log;
};
extern struct fake_log_control fake_log;

void fake_log_reset(void);
/* Retention takes everything below `first`. */
void fake_log_trim(struct log_shard *shard, uint64_t first);
struct log_retention fake_log_retention(const struct log_shard *shard);

#endif

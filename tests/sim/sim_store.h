/*
 * What the simulated disk holds, as two images of everything: `live` is what the operating system shows, `stable` what
 * the medium holds. Pure state: no time, no events (sim_disk.c brings those). The rules: sim_store.c.
 */
#ifndef SLUICE_SIM_STORE_H
#define SLUICE_SIM_STORE_H

#include "tests/sim/sim.h"

#define STORE_UNIT     512u
#define STORE_PAGE     4096u
#define STORE_UNITS    (STORE_PAGE / STORE_UNIT)
#define STORE_NAME_MAX 255

struct store_page {
    uint8_t *live;   /* NULL: zeros */
    uint8_t *stable; /* NULL: the same as live; store_zeros: zeros */
    uint8_t dirty;   /* a bit a unit: the next sync makes it stable */
    bool allocated;
};

struct store_node;

struct store_entry {
    char *name;
    struct store_node *node;
};

struct store_entries {
    struct store_entry *at;
    size_t count, cap;
};

struct store_node {
    bool folder;
    uint64_t number;
    uint32_t live_links, stable_links, pending, handles; /* it is freed once all are 0 */
    /* a file: */
    uint64_t size, stable_size;
    uint64_t cut_to;  /* the least length it was truncated to since the last sync; UINT64_MAX: not truncated */
    uint64_t cuts;    /* truncations so far */
    uint64_t charged; /* bytes of the capacity */
    struct store_page *pages;
    size_t page_count;
    /* a folder: */
    struct store_entries live, stable;
    struct list link;
};

enum store_change_kind { STORE_LINK, STORE_UNLINK, STORE_RENAME };

/* A change of names that is not durable yet. */
struct store_change {
    enum store_change_kind kind;
    uint64_t number;
    struct store_node *from, *to; /* folders; LINK and UNLINK use `to` */
    char *from_name, *to_name;
    struct store_node *node; /* LINK: linked; RENAME: moved; UNLINK: removed */
    bool chosen;
    struct list link;
};

struct store {
    struct sim_world *world;
    struct store_node *root;
    struct list nodes, changes;
    uint64_t next_number;
    uint64_t capacity, used;
    struct sim_counts *counts;
};

/* What a datasync has to make stable, as it was when the sync was submitted. */
struct store_sync {
    struct store_node *node;
    uint64_t size, cuts;
    uint32_t count;
    struct store_sync_page {
        uint64_t index;
        uint8_t units;
        uint8_t *bytes;
    } * page;
};

extern const uint8_t store_zeros[STORE_PAGE];

void store_init(struct store *s, struct sim_world *w, uint64_t capacity, struct sim_counts *counts);
void store_deinit(struct store *s);

/* NULL if there is none. */
struct store_node *store_find(struct store *s, const char *path);
/* The folder that holds `path`, and its last name ("" for the root), or NULL with *out_error. */
struct store_node *store_parent(struct store *s, const char *path, char out_name[STORE_NAME_MAX + 1], int *out_error);
struct store_node *store_entry(struct store_entries *e, const char *name);
/* Handles keep a node alive. */
void store_hold(struct store_node *node);
void store_release(struct store *s, struct store_node *node);

int store_open(struct store *s, const char *path, unsigned flags, struct store_node **out);
int store_mkdir(struct store *s, const char *path);
int store_unlink(struct store *s, const char *path, bool folder);
int store_rename(struct store *s, const char *from, const char *to, bool replace);
int64_t store_read(struct store_node *n, void *out, size_t len, uint64_t offset);
/* Bytes written (fewer when the capacity ends), or -ENOSPC. A unit is skipped with chance `skip` per million: what an
 * operation that failed or was cut off leaves. */
int64_t store_write(struct store *s, struct store_node *n, const void *bytes, size_t len, uint64_t offset,
                    uint32_t skip);
int store_allocate(struct store *s, struct store_node *n, uint64_t offset, uint64_t len);
int store_truncate(struct store *s, struct store_node *n, uint64_t len);

/* The two halves of a datasync, and the failure in place of the second. */
void store_sync_begin(struct store_node *n, struct store_sync *out);
void store_sync_end(struct store *s, struct store_sync *y);
void store_sync_fail(struct store *s, struct store_sync *y);
void store_sync_drop(struct store *s, struct store_sync *y);
/* Makes the changes of names in `folder` up to change `number`, and what they rest on, durable. */
void store_sync_folder(struct store *s, struct store_node *folder, uint64_t number);
/* Makes everything stable. */
void store_sync_all(struct store *s);
/* The power cut. Every handle must have been released. */
void store_crash(struct store *s);
/* Makes one unit or byte rot. */
bool store_flip(struct store_node *n, uint64_t offset, uint8_t mask);
void store_poke(struct store *s, struct store_node *n, uint64_t offset, const void *bytes, size_t len);

#endif

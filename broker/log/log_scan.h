/*
 * Walks a file's frames over the seam: reads windows, feeds them to frame_scan, calls back for each good frame. One
 * task; used by opening, index rebuilding and the offline inspection.
 */
#ifndef SLUICE_LOG_SCAN_H
#define SLUICE_LOG_SCAN_H

#include "broker/log/log_task.h"
#include "common/frame/frame.h"

#define SCAN_WINDOW_BYTES (1u << 20)

struct file_scan {
    struct task task; /* status: 0, or -errno of a read, -ENOMEM, or what `frame` returned */
    struct io_file file;
    struct frame_scan scan;
    uint64_t limit; /* bytes from here on do not count */
    /* A good frame. Returns 0 to go on, anything else to stop. `body` is lent for the length of the call. */
    int (*frame)(struct file_scan *fs, const struct frame_header *h, struct slice body, uint64_t offset, uint32_t crc);
    void *owner;
    uint8_t *buf; /* kept between runs; file_scan_deinit */
    size_t cap, len, need;
    uint64_t start; /* file offset of buf[0], a multiple of IO_ALIGN */
    bool last;
    enum frame_step step;
};

/* Set file, scan, limit, frame, owner first. Goes on to the verdict: frame_scan_verdict(&fs->scan). */
void file_scan_start(struct file_scan *fs, struct task *parent);
void file_scan_deinit(struct file_scan *fs);

#endif

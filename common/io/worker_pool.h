/* The one worker pool of the process; private to common/io. */
#ifndef SLUICE_IO_WORKER_POOL_H
#define SLUICE_IO_WORKER_POOL_H

#include "common/io/loop.h"

/* Two lanes, each with threads of its own, so that no file operation waits behind a compression job. */
enum worker_lane { WORKER_JOBS, WORKER_FILES, WORKER_LANES };

/* Takes a share in the pool and lets it grow to `threads` (0: CPUs) for jobs. -EAGAIN: no thread could be started. */
int worker_pool_ref(uint32_t threads) must_use;
/* Gives the share back; the last one ends the threads. Nothing of this loop may be queued any more. */
void worker_pool_unref(void);
/* Runs j->work on a worker, then posts j->msg (whose deliver is set) to j->loop. Any thread. */
void worker_pool_submit(enum worker_lane lane, struct io_job *j);

#endif

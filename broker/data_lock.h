/*
 * The data directory belongs to one daemon at a time: an flock on DATA/lock, which holds the owner's process id for the next one's
 * error message. Before any loop runs.
 */
#ifndef SLUICE_BROKER_DATA_LOCK_H
#define SLUICE_BROKER_DATA_LOCK_H

#include "common/base/status.h"

/* Makes the folder (0700, with its parents) and takes the lock, which lasts as long as the process. Returns a descriptor to keep.
 * -EBUSY: another daemon holds it; `e` names its pid. -errno. */
int data_lock(const char *folder, struct err *e) must_use;

#endif

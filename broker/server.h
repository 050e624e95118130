/*
 * The daemon: loops, catalog, api, deliveries and HTTP servers, brought up and taken down in order.
 *
 *     START ──▶ catalog ──▶ loops' threads ──▶ api_start (logs) ──▶ deliveries ──▶ retention on ──▶ HTTP servers ──▶ SERVING
 *     SERVING ──SIGTERM, SIGINT──▶ HTTP servers stop ──▶ deliveries drain ──▶ api_stop (logs) ──▶ loops stop ──▶ END
 *     a step of START that fails, or that ends after a signal, is followed by the way down, which undoes what there is
 *
 * loops[0] runs on the main thread and drives every step; the others only run their own part when a message asks them to.
 * A loop that breaks ends the process at once, as a crash.
 */
#ifndef SLUICE_BROKER_SERVER_H
#define SLUICE_BROKER_SERVER_H

#include "broker/config.h"

/* Runs the daemon until it is told to stop. 0: a clean end; -errno or a domain code with `e`: it could not start or lost its disk.
 * Prints its one line on stdout when it accepts requests. */
int server_run(const struct config *config, struct err *e) must_use;

#endif

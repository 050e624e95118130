/* See data_lock.h. The kernel gives the lock up when the process ends, however it ends. */
#include "broker/data_lock.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096

static int folder_make(const char *folder, struct err *e)
{
    char path[PATH_BYTES];
    size_t len = strlen(folder);
    if (len == 0 || len >= sizeof path)
        return err_set(e, -ENAMETOOLONG, "data directory '%.64s...': the name is too long", folder);
    memcpy(path, folder, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        char was = path[i];
        path[i] = 0;
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return err_set_status(e, -errno, "data directory '%s': mkdir %s", folder, path);
        path[i] = was;
    }
    return 0;
}

int data_lock(const char *folder, struct err *e)
{
    char path[PATH_BYTES + 8], pid[32] = "";
    int rc = folder_make(folder, e);
    if (rc < 0)
        return rc;
    snprintf(path, sizeof path, "%s/lock", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_status(e, -errno, "%s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int why = errno;
        ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
        close(fd);
        if (why != EWOULDBLOCK)
            return err_set_status(e, -why, "%s", path);
        pid[n > 0 ? strcspn(pid, "\n") : 0] = 0;
        return err_set(e, -EBUSY, "the data directory %s is in use by another sluiced, process %s", folder,
                       pid[0] ? pid : "unknown");
    }
    int len = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    errno = EIO; /* for a short write */
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
        rc = err_set_status(e, -errno, "%s", path);
        close(fd);
        return rc;
    }
    return fd;
}

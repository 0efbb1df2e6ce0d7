/* Has the daemon's database fail or stall on command, as a card does that is on its way out.
 *
 * LD_PRELOAD=fault.so FAULT=FILE: as long as FILE holds one of these words, calls on files with "gatewire.db" in their names
 *
 *   EIO, EROFS, ENOSPC   writing and syncing fails with that
 *   read                 reading fails with EIO
 *   stall                syncing doesn't return; FILE.stalled is made when the first one hangs
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind { READ, WRITE, SYNC };

static int is_database(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, "gatewire.db") != NULL;
}

static int is_told(const char *word)
{
    char told[16] = "";
    const char *name = getenv("FAULT");
    FILE *file = name ? fopen(name, "re") : NULL;
    if (!file)
        return 0;
    if (!fgets(told, sizeof told, file))
        told[0] = 0;
    fclose(file);
    return strcmp(told, word) == 0;
}

static void say_that_it_hangs(void)
{
    char name[4096];
    snprintf(name, sizeof name, "%s.stalled", getenv("FAULT"));
    int file = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0)
        close(file);
}

/* The error to fail with, 0 for none. */
static int fault(int fd, enum kind kind)
{
    if (!is_database(fd))
        return 0;
    if (kind == READ)
        return is_told("read") ? EIO : 0;
    if (kind == SYNC && is_told("stall")) {
        say_that_it_hangs();
        while (is_told("stall"))
            usleep(10000);
    }
    return is_told("EIO") ? EIO : is_told("EROFS") ? EROFS : is_told("ENOSPC") ? ENOSPC : 0;
}

#define FAULTY(kind, type, name, parameters, arguments)                   \
    type name parameters                                                  \
    {                                                                     \
        static type (*real) parameters;                                   \
        int error = fault(fd, kind);                                      \
        if (error) {                                                      \
            errno = error;                                                \
            return -1;                                                    \
        }                                                                 \
        if (!real)                                                        \
            real = (type(*) parameters)dlsym(RTLD_NEXT, #name);           \
        return real arguments;                                            \
    }

FAULTY(READ, ssize_t, read, (int fd, void *to, size_t n), (fd, to, n))
FAULTY(READ, ssize_t, pread, (int fd, void *to, size_t n, off_t at), (fd, to, n, at))
FAULTY(READ, ssize_t, pread64, (int fd, void *to, size_t n, off64_t at), (fd, to, n, at))
FAULTY(WRITE, ssize_t, write, (int fd, const void *from, size_t n), (fd, from, n))
FAULTY(WRITE, ssize_t, pwrite, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at))
FAULTY(WRITE, ssize_t, pwrite64, (int fd, const void *from, size_t n, off64_t at), (fd, from, n, at))
FAULTY(WRITE, int, ftruncate, (int fd, off_t n), (fd, n))
FAULTY(WRITE, int, ftruncate64, (int fd, off64_t n), (fd, n))
FAULTY(SYNC, int, fsync, (int fd), (fd))
FAULTY(SYNC, int, fdatasync, (int fd), (fd))

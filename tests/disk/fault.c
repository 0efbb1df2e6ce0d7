/* Has the daemon's database fail or stall on command, as a card does that is on its way out.
 *
 * LD_PRELOAD=fault.so FAULT=FILE: as long as FILE holds one of these words, calls on files with "gatewire.db" in their names
 *
 *   EIO, EROFS, ENOSPC   writing and syncing fails with that
 *   read                 reading fails with EIO
 *   sector               reading the 41st page of the database itself fails with EIO
 *   once                 the same, but only the first time
 *   stall                syncing doesn't return; FILE.stalled is made when the first one hangs
 *   panic                everything fails with EIO, and the first look of the store's thread at the clock, too, which no
 *                        program in Rust survives: a panic, as a defect would cause it
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum kind { READ, WRITE, SYNC };

static const off_t SECTOR = 40 * 4096;

/* What follows "gatewire.db" in the file's name; NULL if it has another. */
static const char *suffix_of(int fd, char *path, size_t size)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0)
        return NULL;
    path[length] = 0;
    const char *name = strstr(path, "gatewire.db");
    return name ? name + strlen("gatewire.db") : NULL;
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
static int fault(int fd, enum kind kind, off_t at, size_t n)
{
    char path[4096];
    const char *suffix = suffix_of(fd, path, sizeof path);
    if (!suffix)
        return 0;
    if (is_told("panic"))
        return EIO;
    if (kind == READ) {
        int is_sector = *suffix == 0 && at <= SECTOR && SECTOR < at + (off_t)n;
        static int has_failed;
        if (is_sector && is_told("once"))
            return has_failed++ ? 0 : EIO;
        return is_told("read") || (is_sector && is_told("sector")) ? EIO : 0;
    }
    if (kind == SYNC && is_told("stall")) {
        say_that_it_hangs();
        while (is_told("stall"))
            usleep(10000);
    }
    return is_told("EIO") ? EIO : is_told("EROFS") ? EROFS : is_told("ENOSPC") ? ENOSPC : 0;
}

#define FAULTY(kind, type, name, parameters, arguments, at, length)       \
    type name parameters                                                  \
    {                                                                     \
        static type (*real) parameters;                                   \
        int error = fault(fd, kind, at, length);                          \
        if (error) {                                                      \
            errno = error;                                                \
            return -1;                                                    \
        }                                                                 \
        if (!real)                                                        \
            real = (type(*) parameters)dlsym(RTLD_NEXT, #name);           \
        return real arguments;                                            \
    }

FAULTY(READ, ssize_t, read, (int fd, void *to, size_t n), (fd, to, n), lseek(fd, 0, SEEK_CUR), n)
FAULTY(READ, ssize_t, pread, (int fd, void *to, size_t n, off_t at), (fd, to, n, at), at, n)
FAULTY(READ, ssize_t, pread64, (int fd, void *to, size_t n, off64_t at), (fd, to, n, at), at, n)
FAULTY(WRITE, ssize_t, write, (int fd, const void *from, size_t n), (fd, from, n), 0, n)
FAULTY(WRITE, ssize_t, pwrite, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at), at, n)
FAULTY(WRITE, ssize_t, pwrite64, (int fd, const void *from, size_t n, off64_t at), (fd, from, n, at), at, n)
FAULTY(WRITE, int, ftruncate, (int fd, off_t n), (fd, n), n, 0)
FAULTY(WRITE, int, ftruncate64, (int fd, off64_t n), (fd, n), n, 0)
FAULTY(SYNC, int, fsync, (int fd), (fd), 0, 0)
FAULTY(SYNC, int, fdatasync, (int fd), (fd), 0, 0)

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    static int has_failed;
    char name[16] = "";
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    prctl(PR_GET_NAME, name);
    if (!has_failed && strcmp(name, "store") == 0 && is_told("panic")) {
        has_failed = 1;
        errno = EINVAL;
        return -1;
    }
    return real(clock, now);
}

/* Writes down what the daemon does to its database, and what it tells others, in one order.
 *
 * LD_PRELOAD=recorder.so RECORDING=FILE RECORDED=DIRECTORY: each change of a file in DIRECTORY whose name begins with
 * "gatewire.db" is appended to FILE once it has succeeded, each sync once it has returned, and each message to a socket before
 * it is sent. As soon as there is a FILE.die, the daemon dies right after its next such change.
 *
 * A record: kind (1 byte), length of the name (1), of the data (4), a position (8), the name, the data.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(type, name, parameters)                               \
    static type(*real) parameters;                                 \
    if (!real)                                                     \
        real = (type(*) parameters)dlsym(RTLD_NEXT, #name);

static void record(char kind, const char *name, uint64_t at, const struct iovec *data, int count, size_t length)
{
    static int file = -1;
    int error = errno;
    if (file < 0)
        file = syscall(SYS_openat, AT_FDCWD, getenv("RECORDING"), O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    char head[14] = { kind, (char)strlen(name) };
    uint32_t bytes = length;
    memcpy(head + 2, &bytes, 4);
    memcpy(head + 6, &at, 8);
    struct iovec parts[16] = { { head, sizeof head }, { (void *)name, strlen(name) } };
    size_t total = sizeof head + strlen(name) + length;
    int used = 2;
    for (int i = 0; i < count && length > 0; i++) {
        if (used == 16)
            abort();
        parts[used] = data[i];
        if (parts[used].iov_len > length)
            parts[used].iov_len = length;
        length -= parts[used++].iov_len;
    }
    /* An incomplete recording proves nothing. */
    if (syscall(SYS_writev, file, parts, used) != (ssize_t)total)
        abort();
    errno = error;
}

/* A change of a file of the database. */
static void change(char kind, const char *name, uint64_t at, const void *data, size_t length)
{
    struct iovec part = { (void *)data, length };
    char die[4096];
    int error = errno;
    record(kind, name, at, &part, 1, length);
    snprintf(die, sizeof die, "%s.die", getenv("RECORDING"));
    if (access(die, F_OK) == 0)
        kill(getpid(), SIGKILL);
    errno = error;
}

/* The name in the recorded directory: "" for the directory itself, NULL for what isn't the database's. */
static const char *name_of(const char *path)
{
    const char *directory = getenv("RECORDED");
    size_t length = strlen(directory);
    if (strncmp(path, directory, length) != 0)
        return NULL;
    if (path[length] == 0)
        return "";
    return strncmp(path + length, "/gatewire.db", 12) == 0 ? path + length + 1 : NULL;
}

static const char *name_of_fd(int fd, char *path, size_t size)
{
    char link[64];
    int error = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    errno = error;
    if (length < 0)
        return NULL;
    path[length] = 0;
    return name_of(path);
}

/* Answers are recorded with their bytes; what goes to the server is encrypted, only that it went is. */
static void told(int fd, const struct iovec *data, int count)
{
    int domain = 0, error = errno;
    socklen_t size = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0) {
        size_t length = 0;
        for (int i = 0; i < count; i++)
            length += data[i].iov_len;
        if (domain == AF_UNIX)
            record('A', "", 0, data, count, length);
        else
            record('N', "", 0, NULL, 0, 0);
    }
    errno = error;
}

static void told_one(int fd, const void *from, size_t n)
{
    struct iovec data = { (void *)from, n };
    told(fd, &data, 1);
}

ssize_t write(int fd, const void *from, size_t n)
{
    REAL(ssize_t, write, (int, const void *, size_t))
    char path[4096];
    const char *name = name_of_fd(fd, path, sizeof path);
    if (!name) {
        told_one(fd, from, n);
        return real(fd, from, n);
    }
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t written = real(fd, from, n);
    if (written > 0)
        change('W', name, at, from, written);
    return written;
}

ssize_t writev(int fd, const struct iovec *data, int count)
{
    REAL(ssize_t, writev, (int, const struct iovec *, int))
    told(fd, data, count);
    return real(fd, data, count);
}

ssize_t send(int fd, const void *from, size_t n, int flags)
{
    REAL(ssize_t, send, (int, const void *, size_t, int))
    told_one(fd, from, n);
    return real(fd, from, n, flags);
}

ssize_t sendto(int fd, const void *from, size_t n, int flags, const struct sockaddr *to, socklen_t length)
{
    REAL(ssize_t, sendto, (int, const void *, size_t, int, const struct sockaddr *, socklen_t))
    told_one(fd, from, n);
    return real(fd, from, n, flags, to, length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    REAL(ssize_t, sendmsg, (int, const struct msghdr *, int))
    told(fd, message->msg_iov, message->msg_iovlen);
    return real(fd, message, flags);
}

#define POSITIONED(name, offset)                                                 \
    ssize_t name(int fd, const void *from, size_t n, offset at)                  \
    {                                                                            \
        REAL(ssize_t, name, (int, const void *, size_t, offset))                 \
        char path[4096];                                                         \
        const char *file = name_of_fd(fd, path, sizeof path);                    \
        ssize_t written = real(fd, from, n, at);                                 \
        if (file && written > 0)                                                 \
            change('W', file, at, from, written);                                \
        return written;                                                          \
    }

#define CUT(name, offset)                                                        \
    int name(int fd, offset length)                                              \
    {                                                                            \
        REAL(int, name, (int, offset))                                           \
        char path[4096];                                                         \
        const char *file = name_of_fd(fd, path, sizeof path);                    \
        int result = real(fd, length);                                           \
        if (file && result == 0)                                                 \
            change('T', file, length, NULL, 0);                                  \
        return result;                                                           \
    }

#define SYNC(name)                                                               \
    int name(int fd)                                                             \
    {                                                                            \
        REAL(int, name, (int))                                                   \
        char path[4096];                                                         \
        const char *file = name_of_fd(fd, path, sizeof path);                    \
        int result = real(fd);                                                   \
        if (file && result == 0)                                                 \
            change('S', file, 0, NULL, 0);                                       \
        return result;                                                           \
    }

#define OPEN(name)                                                               \
    int name(const char *path, int flags, ...)                                   \
    {                                                                            \
        REAL(int, name, (const char *, int, ...))                                \
        va_list rest;                                                            \
        va_start(rest, flags);                                                   \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;  \
        va_end(rest);                                                            \
        const char *file = name_of(path);                                        \
        int error = errno;                                                       \
        int is_new = file && flags & O_CREAT && access(path, F_OK) != 0;         \
        errno = error;                                                           \
        int fd = real(path, flags, mode);                                        \
        if (is_new && fd >= 0)                                                   \
            change('C', file, 0, NULL, 0);                                       \
        return fd;                                                               \
    }

POSITIONED(pwrite, off_t)
POSITIONED(pwrite64, off64_t)
CUT(ftruncate, off_t)
CUT(ftruncate64, off64_t)
SYNC(fsync)
SYNC(fdatasync)
OPEN(open)
OPEN(open64)

int unlink(const char *path)
{
    REAL(int, unlink, (const char *))
    const char *name = name_of(path);
    int result = real(path);
    if (name && result == 0)
        change('U', name, 0, NULL, 0);
    return result;
}

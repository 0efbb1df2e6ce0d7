/* A system that has no more threads: LD_PRELOAD=no_thread.so NO_THREAD=FILE. As long as FILE exists, there is none. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*work)(void *), void *argument)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    const char *sign = getenv("NO_THREAD");
    if (!real)
        real = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))dlsym(RTLD_NEXT, "pthread_create");
    if (sign && access(sign, F_OK) == 0)
        return EAGAIN;
    return real(thread, attributes, work, argument);
}

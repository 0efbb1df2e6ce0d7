/* Shows the daemon another clock: LD_PRELOAD=clock.so CLOCK_AHEAD=SECONDS CLOCK_SYNCHRONISED=yes|no|denied. Time since boot stays. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    const char *ahead = getenv("CLOCK_AHEAD");
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && ahead)
        now->tv_sec += atoll(ahead);
    return result;
}

int adjtimex(struct timex *timex)
{
    const char *synchronised = getenv("CLOCK_SYNCHRONISED");
    memset(timex, 0, sizeof *timex);
    if (synchronised && strcmp(synchronised, "yes") == 0)
        return TIME_OK;
    if (synchronised && strcmp(synchronised, "denied") == 0) {
        errno = EPERM;
        return -1;
    }
    timex->status = STA_UNSYNC;
    return TIME_ERROR;
}

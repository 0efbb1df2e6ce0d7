/* A machine whose clock wasn't set yet: as long as the file exists that CLOCK_UNSET names, the wall clock counts from 1970. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time)
{
	static int (*next)(clockid_t, struct timespec *);
	const char *file = getenv("CLOCK_UNSET");
	if (!next)
		next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	if (clock == CLOCK_REALTIME && file && access(file, F_OK) == 0)
		clock = CLOCK_BOOTTIME;
	return next(clock, time);
}

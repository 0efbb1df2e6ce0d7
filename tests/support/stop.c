/* Stops the process as soon as it is connected to a socket messages.sock: a machine on which it doesn't get a turn before it has sent
 * anything. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
	int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
	int result = next(fd, address, length);
	const char *path = ((const struct sockaddr_un *)address)->sun_path;
	if (result == 0 && address->sa_family == AF_UNIX && strstr(path, "messages.sock"))
		raise(SIGSTOP);
	return result;
}

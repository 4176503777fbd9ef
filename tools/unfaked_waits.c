/* Loaded before libfaketime 0.9.10, whose wrappers of these calls are wrong for a clock that is only shifted:

   - A sleep until a moment of the monotonic clock becomes an invalid one where that clock is not faked (its issue 426,
     fixed since). Python's time.sleep is such a sleep from 3.11 on.
   - While a call waits, its signal handlers read the real time. The handler of Postgres's statement_timeout and
     lock_timeout then takes the timeout for one of hours to come, and a statement that sleeps is never canceled.

   All of them wait for a span or until a moment of the monotonic clock, so the system calls themselves are right. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MASK_BYTES 8 /* of the kernel's sigset */

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *request, struct timespec *remain) {
  return syscall(SYS_clock_nanosleep, clock, flags, request, remain) == 0 ? 0 : errno;
}

int nanosleep(const struct timespec *request, struct timespec *remain) {
  return syscall(SYS_nanosleep, request, remain);
}

int epoll_pwait(int epoll, struct epoll_event *events, int most, int milliseconds, const sigset_t *mask) {
  return syscall(SYS_epoll_pwait, epoll, events, most, milliseconds, mask, MASK_BYTES);
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int milliseconds) {
  return epoll_pwait(epoll, events, most, milliseconds, NULL);
}

int ppoll(struct pollfd *descriptors, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
  struct timespec left;
  if (timeout != NULL) left = *timeout; /* the system call changes it */
  return syscall(SYS_ppoll, descriptors, count, timeout == NULL ? NULL : &left, mask, MASK_BYTES);
}

int poll(struct pollfd *descriptors, nfds_t count, int milliseconds) {
  struct timespec timeout = {milliseconds / 1000, (milliseconds % 1000) * 1000000L};
  return ppoll(descriptors, count, milliseconds < 0 ? NULL : &timeout, NULL);
}

int pselect(int count, fd_set *read, fd_set *write, fd_set *except, const struct timespec *timeout,
            const sigset_t *mask) {
  struct { const sigset_t *mask; size_t bytes; } blocked = {mask, MASK_BYTES};
  struct timespec left;
  if (timeout != NULL) left = *timeout;
  return syscall(SYS_pselect6, count, read, write, except, timeout == NULL ? NULL : &left, &blocked);
}

int select(int count, fd_set *read, fd_set *write, fd_set *except, struct timeval *timeout) {
  struct timespec left;
  if (timeout == NULL) return syscall(SYS_pselect6, count, read, write, except, NULL, NULL);
  left.tv_sec = timeout->tv_sec;
  left.tv_nsec = timeout->tv_usec * 1000;
  int ready = syscall(SYS_pselect6, count, read, write, except, &left, NULL);
  timeout->tv_sec = left.tv_sec; /* Linux's select leaves what is left of the time */
  timeout->tv_usec = left.tv_nsec / 1000;
  return ready;
}

/* Lets a program believe that it is later: CLOCK_AHEAD_MS on the wall clock, and nothing on those that measure. */

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static long ahead_ms;

__attribute__((constructor)) static void read_order(void) {
  const char *text = getenv("CLOCK_AHEAD_MS");
  ahead_ms = text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
  if (syscall(SYS_clock_gettime, clock, at) != 0) return -1;
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
    long ms = at->tv_nsec / 1000000 + ahead_ms % 1000;
    at->tv_sec += ahead_ms / 1000 + ms / 1000;
    at->tv_nsec = at->tv_nsec % 1000000 + ms % 1000 * 1000000;
  }
  return 0;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  struct timespec now;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}

/* Nobody's machine has been on since 2001: what is later than that is a time of day. */
#define TIME_OF_DAY 1000000000

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
  if (until->tv_sec < TIME_OF_DAY) return pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, until);
  struct timespec then = *until;
  then.tv_sec -= ahead_ms / 1000;
  then.tv_nsec -= ahead_ms % 1000 * 1000000;
  if (then.tv_nsec < 0) {
    then.tv_sec -= 1;
    then.tv_nsec += 1000000000;
  }
  return pthread_cond_clockwait(cond, mutex, CLOCK_REALTIME, &then);
}

/* C's own threads are the others under another name. */
int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until) {
  switch (pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, until)) {
    case 0: return thrd_success;
    case ETIMEDOUT: return thrd_timedout;
    default: return thrd_error;
  }
}

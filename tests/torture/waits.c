/* What libfaketime leaves out: C11's timed wait, by which librdkafka waits.
 *
 * The deadline is a time of the wall clock. Where the kernel's clock is set, a wait that goes on
 * ends at once, or an hour later than it was to; so does this one, which looks ten times a second.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <threads.h>
#include <time.h>

static const long LOOK_NS = 100000000, SECOND_NS = 1000000000;

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex,
                  const struct timespec *restrict until)
{
    for (;;) {
        struct timespec now, end;
        clock_gettime(CLOCK_REALTIME, &now); /* libfaketime's */
        long long left_ns = (until->tv_sec - now.tv_sec) * (long long)SECOND_NS
                            + (until->tv_nsec - now.tv_nsec);
        long wait_ns = left_ns < 0 ? 0 : left_ns < LOOK_NS ? (long)left_ns : LOOK_NS;
        clock_gettime(CLOCK_MONOTONIC, &end);
        end.tv_nsec += wait_ns;
        end.tv_sec += end.tv_nsec / SECOND_NS;
        end.tv_nsec %= SECOND_NS;
        int result = pthread_cond_clockwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex,
                                            CLOCK_MONOTONIC, &end);
        if (result != ETIMEDOUT)
            return result == 0 ? thrd_success : thrd_error;
        if (left_ns <= LOOK_NS)
            return thrd_timedout;
    }
}

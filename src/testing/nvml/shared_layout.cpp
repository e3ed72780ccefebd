#include "testing/nvml/shared_layout.h"

#include <cerrno>

#include <fcntl.h>

namespace egpu::testing {

bool lock_byte(int fd, off_t at, bool wait) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = at;
    lock.l_len = 1;
    int result = -1;
    do {
        result = ::fcntl(fd, wait ? F_SETLKW : F_SETLK, &lock);
    } while (result != 0 && errno == EINTR);
    return result == 0;
}

void unlock_byte(int fd, off_t at) {
    struct flock lock {};
    lock.l_type = F_UNLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = at;
    lock.l_len = 1;
    ::fcntl(fd, F_SETLK, &lock);
}

void make_mutex(pthread_mutex_t* mutex) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

void lock_mutex(pthread_mutex_t* mutex) {
    if (pthread_mutex_lock(mutex) == EOWNERDEAD) pthread_mutex_consistent(mutex);
}

}  // namespace egpu::testing

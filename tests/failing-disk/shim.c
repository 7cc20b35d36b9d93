/* A disk that fails on demand: loaded before libc (LD_PRELOAD), it stands between a process
 * and its writes and syncs of the files below FAULTY_DIRECTORY.
 *
 * The file that FAULT_FILE names says what is to fail, as "CALL N HOW"; before it is there,
 * nothing fails. The N-th CALL since it was there, from 1, fails; CALL is
 *   sync    fsync, fdatasync
 *   write   write, pwrite, writev, pwritev
 * and HOW is
 *   EIO, ENOSPC   the call fails, and did nothing. What was written stays readable, as from
 *                 a page cache.
 *   lost          the call fails with EIO, and what was written since the last sync is gone.
 *   short         half is written, and the call says so.
 *   torn          half is written, the call says so, and the next one fails with ENOSPC.
 *   ignored       this and each later sync returns success, and did nothing.
 * When it has failed, the file gets the suffix ".done"; after a short write another may follow.
 *
 * The file FAULT_FILE with the suffix ".page" says what cannot be read, as "NAME NUMBER": this
 * page of 4,096 bytes of the file of this name, from 0. As behind a page cache, to write a part
 * of the page is to read the rest of it, and fails as well; and once all of it is written, it can
 * be read again, and the suffix becomes ".mended".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES_MAX 64
#define PAGE 4096

enum how { NOTHING, FAILS, LOSES, SHORTENS, TEARS, IGNORES };

/* What the fault file says. `left` counts down to the call that fails. */
struct fault {
    int is_armed, is_sync, left, error;
    enum how how;
};

/* A file with writes that were not synced, opened once more for reading and writing. */
struct file {
    dev_t device;
    ino_t inode;
    int fd;
};

/* What a write has replaced since the last sync of its file. */
struct undo {
    struct undo *older;
    struct file *file;
    off_t offset, size;
    ssize_t length;
    char bytes[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct fault fault;
static struct undo *newest;
static struct file unsynced[FILES_MAX];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static enum how hows(const char *word, int *error) {
    *error = strcmp(word, "ENOSPC") == 0 || strcmp(word, "torn") == 0 ? ENOSPC : EIO;
    if (strcmp(word, "lost") == 0) return LOSES;
    if (strcmp(word, "short") == 0) return SHORTENS;
    if (strcmp(word, "torn") == 0) return TEARS;
    if (strcmp(word, "ignored") == 0) return IGNORES;
    return FAILS;
}

static void arm(void) {
    const char *path = getenv("FAULT_FILE");
    char call[16], how[16];
    FILE *file = fault.is_armed || path == NULL ? NULL : fopen(path, "re");
    if (file == NULL) return;
    if (fscanf(file, "%15s %d %15s", call, &fault.left, how) == 3) {
        fault.is_armed = 1;
        fault.is_sync = strcmp(call, "sync") == 0;
        fault.how = hows(how, &fault.error);
    }
    fclose(file);
}

static void report(void) {
    const char *path = getenv("FAULT_FILE");
    char done[PATH_MAX];
    snprintf(done, sizeof done, "%s.done", path);
    if (rename(path, done) != 0) abort();
    fault.is_armed = fault.how != SHORTENS;
}

/* What is to happen to this call. The lock is held. */
static enum how happens(int is_sync) {
    arm();
    if (!fault.is_armed || fault.is_sync != is_sync || --fault.left > 0) return NOTHING;
    if (fault.left < 0 && fault.how != IGNORES) {
        int is_next = fault.left == -1;
        return fault.how == TEARS && is_next ? FAILS : NOTHING;
    }
    if (fault.left == 0) report();
    return fault.how;
}

static int is_faulty(int fd) {
    const char *directory = getenv("FAULTY_DIRECTORY");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (directory == NULL || length < 0) return 0;
    path[length] = '\0';
    return strncmp(path, directory, strlen(directory)) == 0;
}

/* Where the page begins that cannot be read of this file, or -1. */
static off_t bad_page(int fd) {
    char list[PATH_MAX], link[64], path[PATH_MAX], name[NAME_MAX + 1];
    long number;
    const char *fault_file = getenv("FAULT_FILE");
    snprintf(list, sizeof list, "%s.page", fault_file == NULL ? "" : fault_file);
    FILE *file = fault_file == NULL ? NULL : fopen(list, "re");
    if (file == NULL) return -1;
    int is_told = fscanf(file, "%255s %ld", name, &number) == 2;
    fclose(file);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!is_told || length < 0) return -1;
    path[length] = '\0';
    return strcmp(strrchr(path, '/') + 1, name) == 0 ? number * PAGE : -1;
}

static void report_mended(void) {
    const char *path = getenv("FAULT_FILE");
    char list[PATH_MAX], mended[PATH_MAX];
    snprintf(list, sizeof list, "%s.page", path);
    snprintf(mended, sizeof mended, "%s.mended", path);
    if (rename(list, mended) != 0) abort();
}

/* Whether a write would have to read a page first that cannot be read. The lock is held. */
static int is_partial_on_bad(int fd, off_t offset, size_t length) {
    off_t page = bad_page(fd), end = offset + (off_t)length;
    if (page < 0 || end <= page || page + PAGE <= offset) return 0;
    if (page < offset || end < page + PAGE) return 1;
    report_mended();
    return 0;
}

/* The entry of the file, or a null pointer. */
static struct file *find(const struct stat *stat) {
    for (size_t i = 0; i < FILES_MAX; i++) {
        struct file *file = &unsynced[i];
        if (file->inode == stat->st_ino && file->device == stat->st_dev) return file;
    }
    return NULL;
}

static struct file *add(int fd, const struct stat *stat) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int again = open(link, O_RDWR | O_CLOEXEC);
    for (size_t i = 0; i < FILES_MAX && again >= 0; i++) {
        if (unsynced[i].inode != 0) continue;
        unsynced[i] = (struct file){stat->st_dev, stat->st_ino, again};
        return &unsynced[i];
    }
    abort();
}

/* Keeps what lies where a write will go. */
static void remember(int fd, off_t offset, size_t length) {
    struct undo *undo = malloc(sizeof *undo + length);
    struct stat stat;
    if (undo == NULL || fstat(fd, &stat) != 0) abort();
    struct file *file = find(&stat);
    if (file == NULL) file = add(fd, &stat);
    *undo = (struct undo){newest, file, offset, stat.st_size, 0};
    undo->length = pread(file->fd, undo->bytes, length, offset);
    newest = undo;
}

/* What was written to the file has reached the disk. */
static void forget(int fd) {
    struct stat stat;
    struct file *file = fstat(fd, &stat) == 0 ? find(&stat) : NULL;
    if (file == NULL) return;
    for (struct undo **link = &newest; *link != NULL;) {
        struct undo *undo = *link;
        if (undo->file != file) {
            link = &undo->older;
            continue;
        }
        *link = undo->older;
        free(undo);
    }
    close(file->fd);
    file->inode = 0;
}

/* Takes back the writes to all files, the newest first. */
static void lose(void) {
    ssize_t (*write_at)(int, const void *, size_t, off64_t) = REAL(pwrite64);
    for (struct undo *undo = newest; undo != NULL; undo = undo->older) {
        int fd = undo->file->fd;
        if (undo->length > 0 && write_at(fd, undo->bytes, undo->length, undo->offset) < 0) abort();
        if (ftruncate(fd, undo->size) != 0) abort();
    }
}

static int fails(void) {
    errno = fault.error;
    return -1;
}

static int unreadable(void) {
    errno = EIO;
    return -1;
}

static int sync_with(int fd, int (*real)(int)) {
    if (!is_faulty(fd)) return real(fd);
    pthread_mutex_lock(&lock);
    enum how how = happens(1);
    if (how == LOSES) lose();
    pthread_mutex_unlock(&lock);
    if (how == IGNORES) return 0;
    if (how != NOTHING) return fails();
    int result = real(fd);
    pthread_mutex_lock(&lock);
    if (result == 0) forget(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd) { return sync_with(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_with(fd, REAL(fdatasync)); }

/* How much of a write is to happen, or -1. */
static ssize_t allowed(int fd, off_t offset, size_t length) {
    if (!is_faulty(fd)) return length;
    pthread_mutex_lock(&lock);
    int is_bad = is_partial_on_bad(fd, offset, length);
    enum how how = happens(0);
    if (how != FAILS && !is_bad) remember(fd, offset, length);
    pthread_mutex_unlock(&lock);
    if (how == FAILS) return fails();
    if (is_bad) return unreadable();
    return how == SHORTENS || how == TEARS ? (ssize_t)(length + 1) / 2 : (ssize_t)length;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    ssize_t some = allowed(fd, offset, length);
    return some < 0 ? some : REAL(pwrite64)(fd, bytes, some, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return pwrite64(fd, bytes, length, offset);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    ssize_t some = allowed(fd, lseek(fd, 0, SEEK_CUR), length);
    return some < 0 ? some : REAL(write)(fd, bytes, some);
}

/* Of several pieces the first is written: a short write, as is anybody's right. */
ssize_t writev(int fd, const struct iovec *pieces, int count) {
    if (count == 0 || !is_faulty(fd)) return REAL(writev)(fd, pieces, count);
    return write(fd, pieces[0].iov_base, pieces[0].iov_len);
}

ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t offset) {
    if (count == 0 || !is_faulty(fd)) return REAL(pwritev64)(fd, pieces, count, offset);
    return pwrite64(fd, pieces[0].iov_base, pieces[0].iov_len, offset);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset) {
    return pwritev64(fd, pieces, count, offset);
}

/* How much of a read is to happen, or -1. */
static ssize_t readable(int fd, off_t offset, size_t length) {
    if (!is_faulty(fd)) return length;
    off_t page = bad_page(fd);
    if (page < 0 || offset + (off_t)length <= page || page + PAGE <= offset) return length;
    return offset < page ? page - offset : unreadable();
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t offset) {
    ssize_t some = readable(fd, offset, length);
    return some < 0 ? some : REAL(pread64)(fd, bytes, some, offset);
}

ssize_t pread(int fd, void *bytes, size_t length, off_t offset) {
    return pread64(fd, bytes, length, offset);
}

ssize_t read(int fd, void *bytes, size_t length) {
    ssize_t some = readable(fd, lseek(fd, 0, SEEK_CUR), length);
    return some < 0 ? some : REAL(read)(fd, bytes, some);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * pkram.h - hands open memory to pkramd, which keeps it across kexec
 *
 * What can be kept is memory: memfds, and files on tmpfs and hugetlbfs. A service gets back only its
 * own. Who may hand over how much stands in /etc/pkram/pkram.toml.
 *
 *     int fd;
 *     if (pkram_take("cache", &fd) == -ENOENT) {      // the first start
 *             fd = memfd_create("cache", MFD_CLOEXEC);
 *             ftruncate(fd, SIZE);
 *             if (pkram_put("cache", fd) < 0)
 *                     fprintf(stderr, "%s\n", pkram_error());
 *     }
 *
 * Link with -lpkram. All functions may be called from all threads. They return 0 or more when it is
 * done, and a negative errno when it is not:
 *
 *   -ENOENT, -ECONNREFUSED, -EACCES   pkramd cannot be reached (pkram_take: or nothing is kept so)
 *   -EPERM                            pkramd refuses: no rule, no memory, or too much of it
 *   -EINVAL                           the name is none: up to 255 bytes of printable ASCII without ':'
 *   -ETIMEDOUT                        pkramd has not answered for 30 seconds
 *   -EBADF, -EMFILE, -EPIPE, -EPROTO  and what else sendmsg(2) and recvmsg(2) say
 */
#ifndef PKRAM_H
#define PKRAM_H

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A descriptor that was kept. */
struct pkram_kept {
        char name[256]; /* ends with a NUL */
        int fd;         /* close-on-exec; the caller closes it */
};

/* Has a descriptor kept under a name. Several may have the same one; the same file under the same
 * name is kept once. The caller's descriptor stays the caller's. */
int pkram_put(const char *name, int fd);

/* Gives the descriptor that was kept under a name last; -ENOENT when there is none, and then
 * pkram_error() is empty. It stays in the store. The caller closes what it got. */
int pkram_take(const char *name, int *fd);

/* Gives all that is kept for this program, or with a name all of that, in the order in which it was
 * put. Returns how many there are; the first `count` of them are written to `kept`, and no more are
 * opened. */
ssize_t pkram_take_all(const char *name, struct pkram_kept *kept, size_t count);

/* Drops all that is kept under a name; nothing of that name is no error. */
int pkram_remove(const char *name);

/* Why the last call of this thread failed, for people. It lives until the thread's next call. */
const char *pkram_error(void);

/* Asks the pkramd at another socket from now on, for tests; NULL is the machine's own. */
int pkram_use_socket(const char *path);

#ifdef __cplusplus
}
#endif

#endif

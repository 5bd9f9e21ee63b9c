/* Every function, with what it promises. The argument is the socket. */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pkram.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int memory(const char *content)
{
        int fd = memfd_create("all", MFD_CLOEXEC);
        assert(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content));
        return fd;
}

static int has(int fd, const char *content)
{
        char buffer[64] = "";
        assert(pread(fd, buffer, sizeof buffer - 1, 0) >= 0);
        return strcmp(buffer, content) == 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC;
}

int main(int argc, char *argv[])
{
        struct pkram_kept kept[2];
        int fd = -1, pipes[2];

        assert(argc == 2);
        assert(pkram_use_socket("/nowhere") == 0);
        assert(pkram_take("x", &fd) == -ENOENT && strstr(pkram_error(), "/nowhere"));
        assert(pkram_use_socket(argv[1]) == 0);

        assert(pkram_take("x", &fd) == -ENOENT && *pkram_error() == '\0' && fd == -1);
        assert(pkram_put("x", memory("one")) == 0);
        assert(pkram_put("x", memory("two")) == 0);
        assert(pkram_put("y", memory("three")) == 0);
        assert(pkram_take("x", &fd) == 0 && has(fd, "two"));

        assert(pkram_take_all(NULL, NULL, 0) == 3);
        int before = dup(0);
        assert(pkram_take_all(NULL, kept, 2) == 3);
        assert(!strcmp(kept[0].name, "x") && has(kept[0].fd, "one"));
        assert(!strcmp(kept[1].name, "x") && has(kept[1].fd, "two"));
        close(kept[0].fd), close(kept[1].fd), close(before);
        assert(dup(0) == before); /* the third was closed */
        assert(pkram_take_all("y", kept, 2) == 1 && has(kept[0].fd, "three"));

        assert(pkram_remove("x") == 0 && pkram_remove("x") == 0);
        assert(pkram_take_all(NULL, NULL, 0) == 1);

        assert(pkram_put("a:b", fd) == -EINVAL && strstr(pkram_error(), "has a colon"));
        assert(pkram_put("\xff", fd) == -EINVAL && pkram_put(NULL, fd) == -EINVAL);
        assert(pkram_take(NULL, &fd) == -EINVAL && pkram_take("y", NULL) == -EINVAL);
        assert(pkram_take_all(NULL, NULL, 1) == -EINVAL && pkram_remove(NULL) == -EINVAL);
        assert(pkram_put("z", -1) == -EBADF && pkram_put("z", 12345) == -EBADF);
        assert(pipe(pipes) == 0);
        assert(pkram_put("z", pipes[0]) == -EPERM && strstr(pkram_error(), "it is a pipe"));
        puts("all is as pkram.h says");
        return 0;
}

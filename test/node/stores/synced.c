/* A disk of which only that survives which was synchronised. Each fsync and fdatasync leaves in the folder $SYNCED what it made
   durable: `N-file-ID` is the content of a file, `N-folder-ID` what is in a folder, a line `TYPE ID NAME` each. Beside the content
   of a file `N-names-ID` says what is in its folder: some disks write that early. While there is a file $SYNC_FAULT, synchronising
   fails as on a broken disk. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Inodes are used again: together with the birth of the file they tell it from all others. */
static int identify(int folder, const char *name, char *id, size_t size) {
  struct statx found;
  if (statx(folder, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_MODE | STATX_BTIME, &found)) return -1;
  snprintf(id, size, "%llu.%llu.%u", (unsigned long long)found.stx_ino, (unsigned long long)found.stx_btime.tv_sec, found.stx_btime.tv_nsec);
  return S_ISDIR(found.stx_mode);
}

static FILE *report(int count, const char *kind, const char *id) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%06d-%s-%s", getenv("SYNCED"), count, kind, id);
  return fopen(path, "w");
}

static void names(const char *path, FILE *to) {
  DIR *folder = opendir(path);
  for (struct dirent *entry; folder && (entry = readdir(folder));) {
    char id[100];
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    int is_folder = identify(dirfd(folder), entry->d_name, id, sizeof id);
    fprintf(to, "%s %s %s\n", is_folder ? "folder" : "file", id, entry->d_name);
  }
  if (folder) closedir(folder);
}

static void content(int fd, const char *path, FILE *to) {
  char bytes[65536];
  ssize_t count;
  off_t at = 0;
  /* A database is read through its own descriptor: closing another one would free its locks. */
  int in = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY ? open(path, O_RDONLY) : fd;
  for (; (count = pread(in, bytes, sizeof bytes, at)) > 0; at += count) fwrite(bytes, 1, count, to);
  if (in != fd) close(in);
}

static int synchronise(int fd) {
  static int count;
  const char *fault = getenv("SYNC_FAULT");
  char self[64], id[100], path[4096] = "";
  if (fault && access(fault, F_OK) == 0) {
    errno = EIO;
    return -1;
  }
  int is_folder = identify(fd, "", id, sizeof id);
  if (is_folder < 0) return -1;
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  FILE *to = report(++count, is_folder ? "folder" : "file", id);
  if (!to) return -1;
  if (is_folder) names(self, to);
  else content(fd, self, to);
  fclose(to);
  if (is_folder || readlink(self, path, sizeof path - 1) < 0) return 0;
  const char *folder = dirname(path);
  if (identify(AT_FDCWD, folder, id, sizeof id) != 1 || !(to = report(count, "names", id))) return 0;
  names(folder, to);
  fclose(to);
  return 0;
}

int fsync(int fd) { return synchronise(fd); }
int fdatasync(int fd) { return synchronise(fd); }

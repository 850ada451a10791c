package sysfs

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// MappedFile returns the file of a shared mapping, by /proc/PID/map_files, which wants CAP_SYS_ADMIN or
// CAP_CHECKPOINT_RESTORE. ok is false for one without pages. A captured host has the file in its place as [File.String]
// writes it.
func (f FS) MappedFile(pid int, m Mapping) (file File, ok bool, err error) {
	name := fmt.Sprintf("proc/%d/map_files/%x-%x", pid, m.Start, m.End)
	if !f.Live() {
		files, err := f.readFiles(name)
		if err != nil || len(files) != 1 {
			return File{}, false, err
		}
		return files[0], true, nil
	}
	var stat syscall.Stat_t
	err = statPath(f.Path(name), &stat)
	if err != nil {
		return File{}, false, err
	}
	file, ok = huge(m.File, &stat)
	if !ok || file.Pages == 0 {
		return file, false, nil
	}
	f.recordFiles(name, []File{file}, nil)
	return file, true, nil
}

// OpenFiles returns the files of huge pages that a process has open, mapped or not: memfds, and files below one of the
// hugetlbfs mount points. Some may have no page yet. A captured host has them in /proc/PID/fd.files, as [File.String]
// writes them.
func (f FS) OpenFiles(pid int, mounts ...MountPoints) ([]File, error) {
	dir := fmt.Sprintf("proc/%d/fd", pid)
	if !f.Live() {
		return f.readFiles(dir + ".files")
	}
	files, err := f.openFiles(dir, mounts)
	f.recordFiles(dir+".files", files, err)
	return files, err
}

func (f FS) openFiles(dir string, mounts []MountPoints) ([]File, error) {
	names, err := f.list(dir)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, name := range names {
		link := f.Path(dir + "/" + name)
		target, err := os.Readlink(link)
		if err != nil || !mayBeHuge(target, mounts) {
			continue // closed meanwhile, or none of ours
		}
		// Only what may be huge is asked: the file system of another file may not answer.
		var stat syscall.Stat_t
		var statfs syscall.Statfs_t
		if syscall.Stat(link, &stat) != nil || syscall.Statfs(link, &statfs) != nil || statfs.Type != unix.HUGETLBFS_MAGIC {
			continue
		}
		file, ok := huge(target, &stat)
		if ok {
			files = append(files, file)
		}
	}
	return files, nil
}

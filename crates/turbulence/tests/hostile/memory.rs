//! The memory that a process may take, and the most that it took.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{self, Command},
};

/// The memory that `deploy/kubernetes` gives a process, in bytes.
pub(crate) const LIMIT_BYTES: u64 = 256 * 1024 * 1024;

/// A control group of Linux with a limit of memory, without swap, for one process. The kernel kills
/// the process if it needs more.
pub(crate) struct MemoryGroup {
    folder: PathBuf,
}

impl MemoryGroup {
    /// Creates a group. Returns `None` if the machine has no control groups, or if this process may not
    /// create any.
    pub(crate) fn create(name: &str) -> Option<Self> {
        let name = format!("turbulence-hostile-{}-{name}", process::id());
        Self::v1(Path::new("/sys/fs/cgroup/memory"), &name)
            .or_else(|_| Self::v2(Path::new("/sys/fs/cgroup"), &name))
            .ok()
    }

    /// Linux, "Memory Resource Controller".
    fn v1(root: &Path, name: &str) -> io::Result<Self> {
        let group = Self::at(root.join(name))?;
        group.set("memory.limit_in_bytes", LIMIT_BYTES)?;
        // Without accounts of swap, it is not used as long as there is other memory.
        group
            .set("memory.memsw.limit_in_bytes", LIMIT_BYTES)
            .or_else(|_| group.set("memory.swappiness", 0))?;
        Ok(group)
    }

    /// Linux, "Control Group v2".
    fn v2(root: &Path, name: &str) -> io::Result<Self> {
        fs::write(root.join("cgroup.subtree_control"), "+memory")?;
        let group = Self::at(root.join(name))?;
        group.set("memory.max", LIMIT_BYTES)?;
        group.set("memory.swap.max", 0)?;
        Ok(group)
    }

    fn at(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir(&folder)?;
        Ok(Self { folder })
    }

    fn set(&self, file: &str, value: u64) -> io::Result<()> {
        fs::write(self.folder.join(file), value.to_string())
    }

    /// Returns a command that joins the group and then is the program.
    pub(crate) fn command(&self, program: &Command) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0" && exec "$@""#]);
        command.arg(self.folder.join("cgroup.procs"));
        command.arg(program.get_program()).args(program.get_args());
        if let Some(folder) = program.get_current_dir() {
            command.current_dir(folder);
        }
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Fails while the process has not ended; an empty group costs nothing.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Forgets the most memory that a process took so far (proc(5), `clear_refs`).
pub(crate) fn reset_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// Returns the most memory that a process took, in bytes. Returns `None` if it has ended.
pub(crate) fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().unwrap();
    Some(kibibytes * 1024)
}

//! The daemon is killed, or stopped, at each point of the way down: no shutdown hangs, what can be kept is
//! kept, and where it is not the next boot says why.

use crate::common::{HOP, came_by_pkram, configure, journal, machine};
use anyhow::{Result, ensure};
use testbed::{Suite, Vm, e2e};

/// The pages make the daemon look for a while; their tmpfs is unmounted after the stage.
const CONFIG: &str = "
[source.words]
path = '/dev/shm/words'
[source.pages]
path = '/srv/pages'
";

const SET_UP: &str = "
mkdir /srv/pages
echo 'tmpfs /srv/pages tmpfs defaults 0 0' >> /etc/fstab
mount /srv/pages
systemctl daemon-reload
";

/// Kills the daemon as soon as it reads page frame numbers: in the stage, or in the last look.
const KILLER: &str = r#"
import os, signal, time

def argv0(pid):
    try:
        return open(f"/proc/{pid}/cmdline").read()
    except OSError:
        return ""

def reads(pid):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{fd}").endswith("/pagemap"):
                return True
        except OSError:
            pass
    return False

daemon = next(int(pid) for pid in os.listdir("/proc") if argv0(pid).startswith("@pkramd"))
open("/run/killer-is-ready", "w").close()
while not reads(daemon):
    time.sleep(0.002)
os.kill(daemon, signal.SIGKILL)
"#;

/// In the place of our own, so that it is there before the daemon is asked. What was touched is looked
/// at again.
const HOOK: &str = "#!/bin/sh
touch /dev/shm/words/more
python3 /usr/local/bin/killer &
until [ -e /run/killer-is-ready ]; do sleep 0.1; done
exec /usr/sbin/pkramd jump \"$1\"
";

/// Stops after the stage, and waits for the daemon's successor.
const AFTER_THE_STAGE: &str = "
cat > /run/systemd/system/killer.service <<'END'
[Unit]
DefaultDependencies=no
Before=pkram-shutdown.service shutdown.target
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStop=/usr/local/bin/kill-once
END
cat > /usr/local/bin/kill-once <<'END'
#!/bin/sh
of() { systemctl show --property \"$1\" --value pkramd; }
was=$(of MainPID)
systemctl kill --signal=KILL pkramd
until [ \"$(of MainPID)\" != \"$was\" ] && [ \"$(of ActiveState)\" = active ]; do sleep 0.5; done
END
chmod +x /usr/local/bin/kill-once
systemctl daemon-reload
systemctl start killer
";

#[test]
#[ignore = "many reboots: cargo xtask long"]
fn at_each_point_of_the_way_down() -> Result<()> {
    let Some(bed) = e2e("killed") else { return Ok(()) };
    let kernel = bed.kernel("6.12")?;
    let mut vm = machine(bed, "killed", Suite::Trixie, [kernel, kernel], CONFIG, true)?;
    vm.sh(SET_UP)?;
    vm.write_file("/usr/local/bin/killer", KILLER.as_bytes())?;

    // While it stages: its successor stages.
    let unit = ["systemd-run", "--unit=killer", "--property=DefaultDependencies=no"];
    fill(&mut vm)?;
    vm.run(unit.into_iter().chain(["python3", "/usr/local/bin/killer"]))?;
    vm.sh("until [ -e /run/killer-is-ready ]; do sleep 0.1; done")?;
    let [before, now] = go(&mut vm)?;
    ensure!(before.contains("pkramd.service: Main process exited, code=killed"), "{before}");
    ensure!(before.contains("memory is ready to be kept"), "{before}");
    ensure!(is_there(&mut vm, "/dev/shm/words/word /srv/pages/pages")?, "{before}\n{now}");

    // After it has staged: its successor stages what is not unmounted by then.
    fill(&mut vm)?;
    vm.sh(AFTER_THE_STAGE)?;
    let [before, now] = go(&mut vm)?;
    ensure!(before.contains("memory is ready to be kept"), "{before}");
    ensure!(is_there(&mut vm, "/dev/shm/words/word")?, "{before}\n{now}");
    ensure!(now.contains("source pages is missing: region"), "{now}");

    // In the last look: nothing jumps into pages that nobody holds.
    fill(&mut vm)?;
    vm.sh("cp -p /usr/lib/systemd/system-shutdown/pkram /root/hook")?;
    vm.sh(&format!("cat > /usr/lib/systemd/system-shutdown/pkram <<'END'\n{HOOK}END"))?;
    let [before, now] = go(&mut vm)?;
    ensure!(before.contains("memory is ready to be kept"), "{before}");
    is_lost(&mut vm, &now, "pkramd does not answer: it ended over it")?;
    ensure!(now.contains("source words is missing: the last shutdown could not keep it"), "{now}");
    vm.sh("mv /root/hook /usr/lib/systemd/system-shutdown/pkram")?;

    // Stopped, it is late. systemd lets it go on in the end: that is too late.
    configure(&mut vm, kernel, &format!("{CONFIG}[shutdown]\ndeadline = '5s'\n"))?;
    fill(&mut vm)?;
    vm.run(["systemctl", "kill", "--signal=STOP", "pkramd"])?;
    let [_, now] = go(&mut vm)?;
    is_lost(&mut vm, &now, "pkramd does not answer: nothing came within 5 s")
}

fn fill(vm: &mut Vm) -> Result<()> {
    vm.sh("mkdir -p /dev/shm/words
           echo word > /dev/shm/words/word
           head -c 100M /dev/zero > /dev/shm/words/more
           head -c 20M /dev/zero > /srv/pages/pages")
        .map(drop)
}

/// `systemctl kexec`, and whatever comes after it. Returns what was said in the boot before and in the new
/// one.
fn go(vm: &mut Vm) -> Result<[String; 2]> {
    vm.kexec_into(["systemctl", "kexec"], HOP)?;
    vm.await_running()?;
    Ok([journal(vm, "-1"), journal(vm, "0")])
}

fn is_there(vm: &mut Vm, files: &str) -> Result<bool> {
    Ok(vm.exec(["sh", "-c", &format!("ls {files}")])?.code == Some(0) && came_by_pkram(vm)?)
}

/// The machine went through its firmware, and the new boot says why.
fn is_lost(vm: &mut Vm, now: &str, why: &str) -> Result<()> {
    ensure!(!came_by_pkram(vm)?, "it jumped: {now}");
    ensure!(!is_there(vm, "/dev/shm/words/word")?, "memory over a reboot");
    ensure!(now.contains(&format!("the last shutdown kept no memory: {why}")), "{now}");
    Ok(())
}

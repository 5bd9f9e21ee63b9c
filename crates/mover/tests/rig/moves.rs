//! What the mover does when all is well.

use std::thread;
use std::time::Duration;

use mover::BLOB;
use mover_abi::{MOVES_PER_PAGE, Move, PAGE, Timeline};

use crate::machine::{End, Machine, Outcome, available};
use crate::memory::{END, Memory};
use crate::random::Random;
use crate::scenario::{BOOT_PARAMS, KERNEL, LA57, PAE, Scenario};

/// Pages in each arena.
const ARENA: u64 = 48;

/// Where random moves happen: few places, so that moves chain, below and above 4 GiB, at the edges.
const ARENAS: [u64; 6] = [
    16 << 20,
    (1 << 30) - ARENA / 2 * PAGE,
    (3 << 30) - ARENA * PAGE,
    4 << 30,
    (5 << 30) - ARENA / 2 * PAGE,
    END - ARENA * PAGE,
];

/// A random list: moves read what earlier ones wrote, list pages lie among them.
fn random_scenario(seed: u64) -> Scenario {
    let mut random = Random::new(seed);
    let mut scenario = Scenario::new();
    scenario.segment = random.pick(&[2 << 20, 0x345_6000, (4 << 30) + 0x789_a000]);
    scenario.cr4 = random.pick(&[PAE, PAE | LA57]);
    let mut frames: Vec<u64> =
        (0..8).map(|_| random.pick(&ARENAS) + random.below(ARENA) * PAGE).collect();
    frames.sort_unstable();
    frames.dedup();
    for arena in ARENAS {
        for page in 0..ARENA {
            scenario.memory.write(arena + page * PAGE, &random.page());
        }
    }
    for phase in 0..3 {
        for _ in 0..random.below(frames.len() as u64 * 50) {
            let longest = if random.below(4) == 0 { 12 } else { 2 };
            let pages = 1 + random.below(longest);
            let mut place = || random.pick(&ARENAS) + random.below(ARENA + 1 - pages) * PAGE;
            let m = Move { from: place(), to: place(), len: pages * PAGE };
            let hits = |start: u64| m.to < start + PAGE && start < m.to + m.len;
            let overlap = m.from < m.to + m.len && m.to < m.from + m.len;
            if !overlap && !frames.iter().any(|&frame| hits(frame)) {
                scenario.phases[phase].push(m);
            }
        }
    }
    scenario.frames = frames;
    scenario
}

/// Applies all moves in order, as the mover should.
fn model(scenario: &Scenario) -> Memory {
    let mut memory = scenario.loaded();
    for m in scenario.moves() {
        memory.apply(&m);
    }
    memory
}

/// Runs `scenario` and compares all of memory with the model.
fn check(scenario: &Scenario) -> Outcome {
    let outcome = scenario.run();
    assert_eq!(outcome.serial, [String::new(), String::new()]);
    assert_eq!(outcome.end, End::Entered);
    let mut expected = model(scenario);
    if scenario.timeline != 0 {
        let written: Vec<u8> = outcome.timeline(scenario).to_bytes().to_vec();
        expected.write(scenario.timeline, &written);
    }
    assert_eq!(scenario.strays(&expected, &outcome), [], "pages that differ from the model");
    outcome
}

impl Outcome {
    fn timeline(&self, scenario: &Scenario) -> Timeline {
        Timeline::from_bytes(&self.memory.read(scenario.timeline))
    }
}

#[test]
fn random_lists_do_what_the_model_does() {
    if !available() {
        return;
    }
    let mut longest = 0;
    for seed in 0..24 {
        eprintln!("seed {seed}");
        let scenario = random_scenario(seed);
        longest = longest.max(scenario.moves().len());
        check(&scenario);
    }
    assert!(longest > 2 * MOVES_PER_PAGE, "no list of three pages was among them");
}

#[test]
fn timeline_ascends() {
    if !available() {
        return;
    }
    let mut scenario = random_scenario(100);
    scenario.timeline = ARENAS[5] + 0x2345;
    let t = check(&scenario).timeline(&scenario);
    let stamps = [0, t.entered, t.checked, t.moved, t.composed, t.placed];
    assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
}

/// The state in which the next kernel is entered: `boot.rst`, "64-bit boot protocol".
#[test]
fn next_kernel_finds_the_boot_protocol() {
    if !available() {
        return;
    }
    for cr4 in [PAE, PAE | LA57] {
        let scenario = Scenario { cr4, ..Scenario::new() };
        let outcome = check(&scenario);
        let word = |at: u64| u64::from_le_bytes(outcome.memory.read(at));
        let names = "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15";
        for (name, at) in names.split(' ').zip((0x600..).step_by(8)) {
            let expected = match name {
                "rax" => 0xffff_1000, // The moved stub jumps through it.
                "rsi" => BOOT_PARAMS,
                "rsp" => scenario.segment + BLOB.len() as u64,
                _ => 0,
            };
            assert_eq!(word(at), expected, "{name}");
        }
        let (flags, cr0, cr3, new_cr4) = (word(0x680), word(0x688), word(0x690), word(0x698));
        assert_eq!(flags & (1 << 9 | 1 << 10), 0, "IF and DF");
        assert_eq!(cr0, 0x8000_0033);
        assert_eq!(cr3, scenario.params().page_table);
        assert_eq!(new_cr4, u64::from(cr4) | 0x600, "OSFXSR and OSXMMEXCPT are new, LA57 is kept");
        let selectors = [0x6a0, 0x6a8, 0x6b0, 0x6b8].map(word);
        assert_eq!(selectors, [0x10, 0x18, 0x18, 0x18], "CS, DS, ES, SS");
    }
}

#[test]
fn no_list_is_a_list() {
    if !available() {
        return;
    }
    let mut scenario = Scenario::new();
    let [kernel] = scenario.phases[2][..] else { panic!("the kernel is the only move") };
    scenario.memory.apply(&kernel);
    scenario.phases[2].clear();
    check(&scenario);
}

/// The longest list of this rig uses less than three quarters of the stack.
#[test]
fn stack_is_deep_enough() {
    if !available() {
        return;
    }
    const STACK: u64 = 16 << 10;
    let mut scenario = random_scenario(7);
    scenario.segment = 2 << 20;
    let outcome = check(&scenario);
    let stack = scenario.segment + BLOB.len() as u64 - STACK;
    let untouched = (stack..stack + STACK)
        .step_by(8)
        .take_while(|&at| outcome.memory.read::<8>(at) == [0; 8])
        .count() as u64
        * 8;
    eprintln!("stack used: {} of {STACK} bytes", STACK - untouched);
    assert!(untouched > STACK / 4 && untouched < STACK, "{untouched} bytes never used");
}

#[test]
fn large_moves_are_copied_whole() {
    if !available() {
        return;
    }
    check(&large());
}

/// An interrupt that cannot be masked must not disturb a move: it comes in the midst of one.
#[test]
fn non_maskable_interrupt_is_ignored() {
    if !available() {
        return;
    }
    let scenario = large();
    let m = scenario.phases[0][0];
    let (first, last) = (m.to, m.to + m.len - 8);
    // On a busy machine the move may be over before the interrupt is sent: then once more.
    for _ in 0..10 {
        let mut machine = Machine::start("pc", &scenario.loaded());
        while machine.peek(first) == 0 && machine.runs() {
            thread::sleep(Duration::from_millis(1));
        }
        let interrupted = machine.command("nmi").is_ok() && machine.peek(last) == 0;
        let outcome = machine.finish();
        assert_eq!(outcome.serial[0], "");
        assert_eq!(outcome.end, End::Entered);
        assert_eq!(scenario.strays(&model(&scenario), &outcome), []);
        if interrupted {
            return;
        }
    }
    panic!("the move was always over before the interrupt");
}

/// One large move across a 1 GiB boundary above 4 GiB, and one back from there.
fn large() -> Scenario {
    let mut random = Random::new(1);
    let mut scenario = Scenario::new();
    let len = 64 << 20;
    for page in (0..len).step_by(4096) {
        for at in [page, page + PAGE - 8] {
            scenario.memory.write((1 << 30) + at, &(random.next() | 1).to_le_bytes());
        }
    }
    let to = (5 << 30) - len / 2;
    scenario.phases[0].push(Move { from: 1 << 30, to, len });
    scenario.phases[1].push(Move { from: to, to: KERNEL + PAGE, len: 1 << 20 });
    scenario
}

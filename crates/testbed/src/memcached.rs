//! A memcached in a machine: filled with random items, and asked for them.

use std::time::Duration;

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::vm::Vm;

/// All of them, under emulation.
const LIMIT: Duration = Duration::from_secs(300);

/// Random items; the same seed makes the same ones.
#[derive(Clone, Debug)]
pub struct Items {
    /// How many.
    pub count: u64,
    /// What they follow from.
    pub seed: u64,
    /// Where memcached listens in the machine.
    pub socket: String,
}

/// What memcached had when it was asked for all items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// How many were there.
    pub found: u64,
    /// How many of them were equal to what was set.
    pub equal: u64,
}

#[derive(Deserialize)]
struct Filled {
    set: u64,
}

impl Items {
    /// Sets them all. Returns how many were.
    ///
    /// # Errors
    /// memcached does not take one.
    pub fn fill(&self, vm: &mut Vm) -> Result<u64> {
        self.ask(vm, "fill").map(|filled: Filled| filled.set)
    }

    /// Asks for them all.
    ///
    /// # Errors
    /// memcached does not answer.
    pub fn check(&self, vm: &mut Vm) -> Result<Checked> {
        self.ask(vm, "check")
    }

    fn ask<T: DeserializeOwned>(&self, vm: &mut Vm, verb: &str) -> Result<T> {
        let (count, seed) = (self.count.to_string(), self.seed.to_string());
        let words = ["--items", &count, "--seed", &seed, "--socket", &self.socket];
        let words = ["guest", "mc", verb].into_iter().chain(words);
        vm.program(words).limit(LIMIT).exec()?.json()
    }
}

//! The `setup_data` chain: what a boot loader tells the kernel beside the zero page.
//!
//! ```text
//! zero page 0x250 ──► next u64 │ type u32 │ len u32 │ payload … ──► next node ──► … ──► 0
//! ```
//!
//! Source: `struct setup_data`, `arch/x86/include/uapi/asm/setup_data.h`. The kernel ignores types
//! that it does not know and shows every node, to everybody, in
//! `/sys/kernel/boot_params/setup_data/N/{type,data}`.

use crate::bytes::put;

/// Bytes before a node's payload.
pub const HEADER_BYTES: usize = 16;
/// Where nodes start: a multiple of this many bytes.
const ALIGN: usize = 16;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum NodeType {
    /// `SETUP_E820_EXT`: e820 entries past the 128th.
    E820Ext = 1,
    /// `SETUP_EFI`: where EFI's tables are, see [`crate::efi`].
    Efi = 4,
    /// `SETUP_RNG_SEED`: random bytes for the kernel's pool; it wipes them after use.
    RngSeed = 9,
    /// pkram's own: a [`mover_abi::Timeline`] that the mover fills in, then the handover record.
    /// In memory the number reads `PKRM`. Bit 31 (`SETUP_INDIRECT`) is clear.
    Handover = u32::from_le_bytes(*b"PKRM"),
}

impl NodeType {
    /// The number in the node.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeType,
    /// What it says.
    pub payload: Vec<u8>,
}

impl Node {
    /// Bytes that the node takes in a chain.
    fn stride(&self) -> usize {
        (HEADER_BYTES + self.payload.len()).next_multiple_of(ALIGN)
    }
}

/// Nodes laid out one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The bytes, to lie at the address for which they were made.
    pub bytes: Vec<u8>,
    /// Physical address of every node, in order.
    pub nodes: Vec<u64>,
}

impl Chain {
    /// Lays out `nodes` from physical address `at` on, a multiple of 16.
    pub fn lay_out(nodes: &[Node], at: u64) -> Self {
        let mut bytes = vec![0; nodes.iter().map(Node::stride).sum()];
        let mut addresses = Vec::with_capacity(nodes.len());
        let (mut offset, mut address) = (0, at);
        for (i, node) in nodes.iter().enumerate() {
            let stride = u64::try_from(node.stride()).expect("usize has 64 bits");
            let next = if i + 1 < nodes.len() { address + stride } else { 0 };
            let len = u32::try_from(node.payload.len()).expect("a payload is less than 4 GiB");
            put(&mut bytes, offset, &next.to_le_bytes());
            put(&mut bytes, offset + 8, &node.kind.number().to_le_bytes());
            put(&mut bytes, offset + 12, &len.to_le_bytes());
            put(&mut bytes, offset + HEADER_BYTES, &node.payload);
            addresses.push(address);
            offset += node.stride();
            address += stride;
        }
        Self { bytes, nodes: addresses }
    }

    /// Where the zero page must point: the first node, or 0.
    pub fn head(&self) -> u64 {
        self.nodes.first().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{u32_at, u64_at};
    use proptest::prelude::*;

    /// Walks a chain as `parse_setup_data()` does.
    fn walk(bytes: &[u8], at: u64, head: u64) -> Vec<(u32, Vec<u8>)> {
        let mut found = Vec::new();
        let mut address = head;
        while address != 0 {
            let o = usize::try_from(address - at).unwrap();
            let len = usize::try_from(u32_at(bytes, o + 12).unwrap()).unwrap();
            found.push((u32_at(bytes, o + 8).unwrap(), bytes[o + 16..o + 16 + len].to_vec()));
            address = u64_at(bytes, o).unwrap();
        }
        found
    }

    proptest! {
        #[test]
        fn the_kernel_finds_every_node(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..9),
            page in 1u64..1 << 30,
        ) {
            let kinds = [NodeType::E820Ext, NodeType::Efi, NodeType::RngSeed, NodeType::Handover];
            let nodes: Vec<_> = payloads
                .iter()
                .zip(kinds.into_iter().cycle())
                .map(|(payload, kind)| Node { kind, payload: payload.clone() })
                .collect();
            let chain = Chain::lay_out(&nodes, page * 4096);
            let want: Vec<_> =
                nodes.iter().map(|n| (n.kind.number(), n.payload.clone())).collect();
            prop_assert_eq!(walk(&chain.bytes, page * 4096, chain.head()), want);
            prop_assert!(chain.nodes.iter().all(|a| a % 16 == 0));
        }
    }
}

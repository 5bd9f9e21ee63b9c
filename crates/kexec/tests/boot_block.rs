//! The boot block, read back through the `linux-loader` crate's structures: an oracle that we did
//! not write.

mod common;

use common::{Header, bzimage};
use kexec::boot_block::{Boot, BootBlock, BootBlockError, TIMELINE_BYTES};
use kexec::e820::LIMIT;
use kexec::{BzImage, OldBootParams};
use linux_loader::bootparam::{boot_e820_entry, boot_params};
use physmem::{E820Type, MemoryMap, PhysRange};
use proptest::prelude::*;
use vm_memory::ByteValued;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn range(start: u64, len: u64) -> PhysRange {
    PhysRange::from_len(start, len).unwrap()
}

/// 640 KiB and 64 GiB of RAM with `spans` holes of 2 MiB.
fn map_with(spans: u64) -> MemoryMap {
    let mut map = MemoryMap::default();
    map.overlay(range(0, 0x9fc00), E820Type::Ram);
    map.overlay(range(MIB, 64 * GIB), E820Type::Ram);
    let spans: Vec<_> = (0..spans).map(|i| range(GIB + i * 4 * MIB, 2 * MIB)).collect();
    map.overlay_all(&spans, E820Type::Pram);
    map
}

fn zero_page(block: &BootBlock) -> boot_params {
    let mut page = boot_params::default();
    page.as_mut_slice().copy_from_slice(&block.bytes[..4096]);
    page
}

/// The bytes at a physical address.
fn at(block: &BootBlock, address: u64) -> &[u8] {
    &block.bytes[usize::try_from(address - block.range.start()).unwrap()..]
}

/// Type, address and payload of every node.
fn setup_data(block: &BootBlock) -> Vec<(u32, u64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut next = zero_page(block).hdr.setup_data;
    while next != 0 {
        let node = at(block, next);
        let word = |at: usize| u32::from_le_bytes(node[at..at + 4].try_into().unwrap());
        let len = usize::try_from(word(12)).unwrap();
        found.push((word(8), next, node[16..16 + len].to_vec()));
        next = u64::from_le_bytes(node[..8].try_into().unwrap());
    }
    found
}

fn entries(map: &MemoryMap) -> Vec<boot_e820_entry> {
    map.entries()
        .iter()
        .map(|e| boot_e820_entry {
            addr: e.range.start(),
            size: e.range.len(),
            r#type: e.kind.number(),
        })
        .collect()
}

fn boot<'a>(kernel: &'a BzImage<'a>, map: &'a MemoryMap) -> Boot<'a> {
    Boot {
        kernel,
        map,
        cmdline: "console=ttyS0 root=/dev/vda1",
        initrd: None,
        old: None,
        rsdp: None,
        efi: None,
        rng_seed: [7; 32],
        handover: b"who I am",
    }
}

#[test]
fn every_field_is_where_the_structures_have_it() {
    let file = bzimage(&Header::default());
    let kernel = BzImage::parse(&file).unwrap();
    let map = map_with(1);
    let (place, initrd) = (0x12_3456_7000, range(0x11_2345_6000, 0x1_2345_6789));
    let request = Boot { initrd: Some(initrd), rsdp: Some(0xf_5ac0), ..boot(&kernel, &map) };
    let block = request.block_at(place).unwrap();

    let mut want = boot_params::default();
    let header = &mut want.as_mut_slice()[0x1f1..0x26c];
    header.copy_from_slice(&file[0x1f1..0x26c]);
    want.hdr.type_of_loader = 0xd0;
    want.hdr.loadflags = 0;
    want.hdr.ramdisk_image = 0x2345_6000;
    want.ext_ramdisk_image = 0x11;
    want.hdr.ramdisk_size = 0x2345_6789;
    want.ext_ramdisk_size = 1;
    want.hdr.cmd_line_ptr = 0x3456_8000;
    want.ext_cmd_line_ptr = 0x12;
    want.acpi_rsdp_addr = 0xf_5ac0;
    want.screen_info.ext_mem_k = 0xfc00;
    // The first RAM entry across 1 MiB ends where the span begins.
    want.alt_mem_k = u32::try_from((GIB - MIB) / 1024).unwrap() - 1;
    want.e820_entries = 4;
    for (slot, entry) in want.e820_table.iter_mut().zip(entries(&map)) {
        *slot = entry;
    }
    want.hdr.setup_data = zero_page(&block).hdr.setup_data;
    assert_eq!(zero_page(&block), want);

    let text = at(&block, place + 0x1000);
    assert_eq!(&text[..29], b"console=ttyS0 root=/dev/vda1\0");
    let nodes = setup_data(&block);
    assert_eq!(nodes.iter().map(|n| n.0).collect::<Vec<_>>(), [9, u32::from_le_bytes(*b"PKRM")]);
    assert_eq!(nodes[0].2, [7; 32]);
    assert_eq!(&nodes[1].2[TIMELINE_BYTES..], b"who I am");
    assert_eq!(nodes[1].2[..TIMELINE_BYTES], [0; TIMELINE_BYTES]);
    assert_eq!(block.timeline, nodes[1].1 + 16);
}

#[test]
fn past_128_entries_the_map_goes_on_in_setup_data() {
    let file = bzimage(&Header::default());
    let kernel = BzImage::parse(&file).unwrap();
    for spans in [62, 63, 64, 200, 1598] {
        let map = map_with(spans);
        let request = boot(&kernel, &map);
        let block = request.block_at(0x7000_0000).unwrap();
        assert!(block.range.len() <= request.bound(), "{spans}");
        let page = zero_page(&block);
        let table = page.e820_table;
        let mut found = table[..usize::from(page.e820_entries)].to_vec();
        let nodes = setup_data(&block);
        for (_, _, payload) in nodes.iter().filter(|n| n.0 == 1) {
            for raw in payload.as_chunks::<20>().0 {
                let mut entry = boot_e820_entry::default();
                // 20 bytes, packed, as in the zero page.
                let mut scratch = boot_params::default();
                scratch.as_mut_slice()[0x2d0..0x2e4].copy_from_slice(raw);
                entry.clone_from(&{ scratch.e820_table }[0]);
                found.push(entry);
            }
        }
        assert_eq!(found, entries(&map), "{spans} spans");
        assert_eq!(nodes.iter().any(|n| n.0 == 1), spans > 63);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// The planner sets the bound aside before the map is known.
    #[test]
    fn no_map_needs_more_than_the_bound(cmdline in 0usize..2047, handover in 0usize..4200) {
        let file = bzimage(&Header::default());
        let kernel = BzImage::parse(&file).unwrap();
        let (cmdline, handover) = ("x".repeat(cmdline), vec![1; handover]);
        let mut map = map_with(1598);
        map.overlay(range(1 << 40, 4096), E820Type::Reserved);
        map.overlay(range(2 << 40, 4096), E820Type::Reserved);
        prop_assert_eq!(map.entries().len(), LIMIT);
        let request = Boot { cmdline: &cmdline, handover: &handover, ..boot(&kernel, &map) };
        let block = request.block_at(0x10_0000).unwrap();
        let (len, bound) = (block.range.len(), request.bound());
        prop_assert!(len <= bound && bound - len <= 4096, "{len} {bound}");
    }
}

#[test]
fn what_the_old_kernel_knew_is_carried_over() {
    let file = bzimage(&Header::default());
    let kernel = BzImage::parse(&file).unwrap();
    let map = map_with(0);
    // Every byte of the old zero page is set: what must not be carried shows.
    let old_bytes: Vec<u8> = (0..4096usize).map(|i| u8::try_from(i % 251 + 1).unwrap()).collect();
    let mut old_page = boot_params::default();
    old_page.as_mut_slice().copy_from_slice(&old_bytes);
    let old = OldBootParams::new(&old_bytes).unwrap();
    let plain = zero_page(&boot(&kernel, &map).block_at(0x10_0000).unwrap());
    let request = Boot { old: Some(&old), ..boot(&kernel, &map) };
    let carried = zero_page(&request.block_at(0x10_0000).unwrap());

    let mut want = plain;
    want.screen_info = old_page.screen_info;
    want.screen_info.ext_mem_k = plain.screen_info.ext_mem_k;
    want.screen_info.cl_magic = 0;
    want.screen_info.cl_offset = 0;
    want.edid_info = old_page.edid_info;
    want.eddbuf_entries = old_page.eddbuf_entries;
    want.edd_mbr_sig_buf_entries = old_page.edd_mbr_sig_buf_entries;
    want.edd_mbr_sig_buffer = old_page.edd_mbr_sig_buffer;
    want.eddbuf = old_page.eddbuf;
    want.hdr.hardware_subarch = old_page.hdr.hardware_subarch;
    want.hdr.hardware_subarch_data = old_page.hdr.hardware_subarch_data;
    assert_eq!(carried, want);
    assert!(OldBootParams::new(&old_bytes[..4095]).is_err());
}

#[test]
fn refuses_what_the_kernel_would_not_read() {
    let file = bzimage(&Header { cmdline_size: 300, ..Header::default() });
    let kernel = BzImage::parse(&file).unwrap();
    let map = map_with(0);
    let longest = "x".repeat(300);
    let request = Boot { cmdline: &longest, ..boot(&kernel, &map) };
    assert!(request.block_at(0x10_0000).is_ok());
    let longer = "x".repeat(301);
    let request = Boot { cmdline: &longer, ..request };
    let error = request.block_at(0x10_0000).unwrap_err();
    assert_eq!(error, BootBlockError::CmdlineTooLong { len: 301, limit: 300 });
    assert!(error.to_string().ends_with("shorten it by 1"));
    let request = Boot { cmdline: "a\0b", ..request };
    assert_eq!(request.block_at(0x10_0000).unwrap_err(), BootBlockError::CmdlineNul(1));
    let request = Boot { cmdline: "", ..request };
    assert_eq!(request.block_at(0x10_0800).unwrap_err(), BootBlockError::Unaligned(0x10_0800));
    assert!(request.block_at((1 << 52) - 4096).is_err());
}

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| natpath_kernel_tests::any_input::addr(bytes));

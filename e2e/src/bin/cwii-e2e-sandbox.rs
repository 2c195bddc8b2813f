//! The inside of a pod of the tests; see `cwii_e2e::sandbox`.

fn main() -> anyhow::Result<()> {
    cwii_e2e::sandbox::main()
}

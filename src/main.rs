fn main() -> anyhow::Result<std::process::ExitCode> {
    continuum::cli::main()
}

//! `kubectl-cwii`: the process; everything else is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubectl_cwii::main()
}

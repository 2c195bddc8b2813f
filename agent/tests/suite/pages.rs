//! What the agent prints for the workloads of the tour, whole: exit code, standard output, standard error and
//! termination message in one snapshot each. What differs from run to run is replaced.

use cwii_lab::scenarios;

use crate::support::{Agent, lab};

#[test]
fn the_pages_of_the_tour_are_as_they_were_reviewed() {
    let lab = lab();
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    for (pattern, replacement) in [
        (r"localhost:\d+", "localhost:PORT"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
        (r"in 59 m \d+ s|in 1 h 0 m|in 1 h", "IN-AN-HOUR"),
        (r"issued \d+ s ago", "issued JUST-NOW"),
        (r"SHA-256 [0-9a-f]{12}…", "SHA-256 HASH…"),
        (r"AROA[A-Z0-9]{17}", "ROLE-ID"),
        (r"[A-Za-z0-9_-]{43}", "KEY-ID"),
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "UUID",
        ),
        (r"/\S+/workloads/", "/WORKLOADS/"),
        (r"now \d+|date \d+|time \d{10}", "EPOCH"),
        (r"\d{10}", "EPOCH"),
        (r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", "TIME"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(Z)?", "TIME"),
    ] {
        settings.add_filter(pattern, replacement);
    }
    settings.bind(|| {
        for scenario in scenarios().iter().filter(|s| s.tour) {
            let ran = Agent::verify(&lab.workload(scenario).unwrap()).arg("--enforce").run();
            let page = format!(
                "exit code: {}\n--- standard output\n{}--- standard error\n{}--- termination message\n{}",
                ran.code.unwrap(),
                ran.stdout,
                ran.stderr,
                ran.message
            );
            insta::assert_snapshot!(scenario.name, page);
        }
    });
}

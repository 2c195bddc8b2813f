//! What to do next for a certificate that all replicas share: a pure function of what a replica just read.
//!
//! A Secret holds the certificate, the MutatingWebhookConfiguration the authorities that the API server trusts
//! (`caBundle`). No replica leads. Each reads the configuration, then the Secret, takes one step, and writes it against
//! the version that it read, so that of two who take the same step one is told to look again. Nothing is remembered
//! between steps but what stands in those two objects: a replica may end at any point and another goes on.
//!
//! One rule keeps every admission: **an authority enters the bundle before any replica serves under it, and leaves it
//! after none does**. A rotation stages the next certificate beside the one in use, publishes both authorities, waits
//! for as long as API servers may take to hear of it (the overlap), promotes the next one, waits as long again for
//! replicas to switch, and drops the old authority, from the bundle first and then from the Secret. So the bundle never
//! holds an authority that the Secret does not account for, unless somebody else changed one of the two. Then the bundle
//! is the only record of what may be served, and what it holds stays for an overlap as well.
//!
//! Each certificate comes with an authority of its own, whose key is thrown away once it has signed: an authority in the
//! bundle can vouch for one certificate and no other.
//!
//! `now` is the API server's clock, from the `Date` of its answer. It is the clock by which certificates are judged,
//! and it is the same for all replicas.

/// Seconds after 1970.
pub type Seconds = i64;

/// An authority's certificate. The one that expires first comes first.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Authority {
    /// When it expires.
    pub expires: Seconds,
    /// DER.
    pub der: Vec<u8>,
}

/// What matters of a certificate that can be served: its key fits, and its authority signed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// Who signed it.
    pub authority: Authority,
    /// When it was made.
    pub issued: Seconds,
    /// When it or its authority expires.
    pub expires: Seconds,
    /// Whether it is for every name that is asked for.
    pub covers: bool,
}

/// What a place for a certificate holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Slot {
    /// Nothing.
    #[default]
    Empty,
    /// Something that cannot be served.
    Unusable,
    /// A certificate, perhaps an expired one.
    Holds(Certificate),
}

impl Slot {
    fn live(&self, now: Seconds) -> Option<&Certificate> {
        match self {
            Self::Holds(certificate) if certificate.expires > now => Some(certificate),
            _ => None,
        }
    }
}

/// What the Secret holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Shared {
    /// What replicas serve.
    pub current: Slot,
    /// What they will serve.
    pub next: Slot,
    /// Authorities of what some may still serve.
    pub previous: Vec<Authority>,
    /// When the bundle was first seen with the next authority in it.
    pub published: Option<Seconds>,
    /// When authorities were last added to `previous`.
    pub replaced: Option<Seconds>,
    /// Somebody asked for a new certificate.
    pub asked: bool,
}

impl Shared {
    /// The bundle as it has to be: current, next, and previous unless their time is over, each once. In an order that a
    /// promotion leaves as it is, so that the bundle is only written when something enters or leaves it.
    fn bundle(&self, view: View<'_>) -> Vec<Authority> {
        let slots = [&self.current, &self.next];
        let live = slots.into_iter().filter_map(|slot| slot.live(view.now));
        let previous = self.previous.iter().filter(|_| !self.is_over(view));
        let mut bundle: Vec<Authority> = Vec::new();
        for authority in live.map(|c| &c.authority).chain(previous) {
            if !bundle.contains(authority) {
                bundle.push(authority.clone());
            }
        }
        bundle.sort();
        bundle
    }

    fn accounts_for(&self, authority: &Authority) -> bool {
        let slots = [&self.current, &self.next];
        let in_slot = slots
            .into_iter()
            .any(|slot| matches!(slot, Slot::Holds(c) if c.authority == *authority));
        in_slot || self.previous.contains(authority)
    }

    /// Whether the previous authorities were trusted long enough. Not for a replica that serves under one: it switches
    /// first.
    fn is_over(&self, view: View<'_>) -> bool {
        let serves = view
            .serving
            .is_some_and(|serving| self.previous.contains(&serving.authority));
        !serves && view.has_passed(self.replaced) == Some(true)
    }

    /// How far a rotation is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match (&self.current, &self.next) {
            (Slot::Holds(_), Slot::Holds(_)) => Phase::BeforeSwitch,
            (Slot::Holds(_), _) if !self.previous.is_empty() => Phase::AfterSwitch,
            (Slot::Holds(_), _) => Phase::Steady,
            _ => Phase::Waiting,
        }
    }
}

/// How far a rotation is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// There is no certificate.
    Waiting,
    /// No rotation is under way.
    Steady,
    /// The next certificate is made, and API servers learn to trust it.
    BeforeSwitch,
    /// It is the current one, and replicas begin to serve it.
    AfterSwitch,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Waiting,
        Self::Steady,
        Self::BeforeSwitch,
        Self::AfterSwitch,
    ];

    /// As metrics spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Steady => "steady",
            Self::BeforeSwitch => "before_switch",
            Self::AfterSwitch => "after_switch",
        }
    }
}

/// What a replica sees when it looks.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The Secret.
    pub shared: &'a Shared,
    /// The `caBundle` of each webhook of the configuration; none where there is no such configuration.
    pub bundles: &'a [Vec<Authority>],
    /// When a replica last wrote them; none where somebody else did since.
    pub written: Option<Seconds>,
    /// What this replica serves.
    pub serving: Option<&'a Certificate>,
    /// The API server's clock.
    pub now: Seconds,
    /// How long the bundle holds old and new, before the switch and after it; seconds.
    pub overlap: Seconds,
}

impl View<'_> {
    /// Whether an overlap has passed since a moment that was written down. None where nothing was, or something that
    /// lies too far ahead to be true: it has to be written again.
    fn has_passed(&self, since: Option<Seconds>) -> Option<bool> {
        let since = since.filter(|since| *since <= self.now + self.overlap)?;
        Some(since + self.overlap <= self.now)
    }

    /// Whether the bundles are as they are for that long.
    fn stands_for(&self, time: Seconds) -> bool {
        self.written.is_some_and(|at| at + time <= self.now)
    }
}

/// Why a certificate is replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Two thirds of its life are over.
    Age,
    /// It is not for all names that are asked for.
    Names,
    /// Somebody asked for it.
    Asked,
}

impl Reason {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Age => "two thirds of its lifetime are over",
            Self::Names => "it is not for every name of --tls-self-signed",
            Self::Asked => "the Secret's annotation cwii.dev/rotate asks for it",
        }
    }
}

/// One step. Each but `Rest` writes one object, and then the replica looks again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Make the first certificate, or one in place of one that cannot be served. These authorities stay trusted.
    Fill(Vec<Authority>),
    /// Write what this replica serves into a Secret that has lost it. These authorities stay trusted.
    Restore(Vec<Authority>),
    /// The bundle holds authorities that the Secret does not account for. They stay trusted for an overlap.
    Keep(Vec<Authority>),
    /// Make the next certificate.
    Stage(Reason),
    /// The next certificate cannot be served: throw it away.
    Discard,
    /// Make this the bundle.
    Publish(Vec<Authority>),
    /// The bundle lost the next authority: what was waited counts no more.
    Unmark,
    /// The bundle holds the next authority: write down when.
    Mark,
    /// Make the next certificate the current one.
    Promote,
    /// Write down when `previous` came to be.
    MarkReplaced,
    /// Forget the previous authorities.
    Drop,
    /// There is nothing to do now.
    Rest,
}

/// What to do next.
#[must_use]
pub fn next(view: View<'_>) -> Step {
    let View {
        shared,
        bundles,
        serving,
        now,
        ..
    } = view;
    let serving = serving.filter(|certificate| certificate.expires > now);
    let next = shared.next.live(now);
    let bundle = shared.bundle(view);
    let Some(current) = shared.current.live(now) else {
        if let Some(serving) = serving {
            return Step::Restore(strangers(view, |a| *a == serving.authority));
        }
        return match next {
            // Nothing that works can be lost, so there is nothing to wait for but the bundle.
            Some(next) if trusted(bundles, &next.authority) => Step::Promote,
            Some(_) if !bundles.is_empty() => Step::Publish(bundle),
            Some(_) => Step::Rest,
            None => Step::Fill(strangers(view, |_| false)),
        };
    };
    if bundles.is_empty() {
        return Step::Rest;
    }
    let mut unknown = strangers(view, |a| shared.accounts_for(a));
    unknown.truncate(MAX_PREVIOUS.saturating_sub(shared.previous.len()));
    if !unknown.is_empty() {
        return Step::Keep(unknown);
    }
    match (&shared.next, next) {
        (Slot::Empty, _) => {
            let ages = now >= current.issued + (current.expires - current.issued) / 3 * 2;
            let reasons = [
                (shared.asked, Reason::Asked),
                (!current.covers, Reason::Names),
                (ages, Reason::Age),
            ];
            if let Some((_, reason)) = reasons.into_iter().find(|(holds, _)| *holds) {
                return Step::Stage(reason);
            }
        }
        (_, None) => return Step::Discard,
        (_, Some(_)) => {}
    }
    if bundles.iter().any(|published| *published != bundle) {
        let lost = next.is_some_and(|next| !trusted(bundles, &next.authority));
        return if lost && shared.published.is_some() {
            Step::Unmark
        } else {
            Step::Publish(bundle)
        };
    }
    if next.is_some() {
        let halfway = |since| since + (current.expires - since) / 2 <= now;
        match view.has_passed(shared.published) {
            None => return Step::Mark,
            Some(true) => return Step::Promote,
            // One that was brought from elsewhere may end before the overlap does.
            Some(false) if shared.published.is_some_and(halfway) => return Step::Promote,
            Some(false) => {}
        }
    }
    if !shared.previous.is_empty() {
        if view.has_passed(shared.replaced).is_none() {
            return Step::MarkReplaced;
        }
        // The bundle has lost them already.
        if shared.is_over(view) {
            return Step::Drop;
        }
    }
    Step::Rest
}

/// Whether a replica shall serve the Secret's current certificate and not what it serves now.
#[must_use]
pub fn switches(view: View<'_>) -> bool {
    let Some(current) = view.shared.current.live(view.now) else {
        return false;
    };
    let Some(serving) = view.serving.filter(|s| s.expires > view.now) else {
        return true;
    };
    if !trusted(view.bundles, &current.authority) {
        return false;
    }
    let is_lost = !trusted(view.bundles, &serving.authority);
    // A third of it: the authority of what is served now goes a whole overlap after the switch.
    let third = view.overlap / 3;
    let ends = serving.expires - view.now <= third;
    is_lost || ends || view.stands_for(third)
}

/// Whether a replica that begins to serve may be asked: its certificate is trusted, and API servers have heard of it.
#[must_use]
pub fn is_ready(view: View<'_>) -> bool {
    let trusts = |serving: &Certificate| trusted(view.bundles, &serving.authority);
    view.serving.is_some_and(trusts) && view.stands_for(SETTLED.min(view.overlap / 4))
}

/// Whether every webhook of the configuration trusts an authority.
#[must_use]
pub fn trusted(bundles: &[Vec<Authority>], authority: &Authority) -> bool {
    !bundles.is_empty() && bundles.iter().all(|bundle| bundle.contains(authority))
}

/// Authorities of the bundles that are not known and have not expired.
fn strangers(view: View<'_>, is_known: impl Fn(&Authority) -> bool) -> Vec<Authority> {
    let mut strangers: Vec<Authority> = Vec::new();
    for authority in view.bundles.iter().flatten() {
        let counts = authority.expires > view.now && !is_known(authority);
        if counts && !strangers.contains(authority) && strangers.len() < MAX_PREVIOUS {
            strangers.push(authority.clone());
        }
    }
    strangers
}

/// Seconds. A watch tells API servers of a change within milliseconds, but two of them may not agree on the time.
const SETTLED: Seconds = 3;
/// A rotation leaves one behind. More come from hands and other tools, and a bundle must not grow by them for ever.
const MAX_PREVIOUS: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An overlap, in rounds of one second, and what the rules promise for it.
    const OVERLAP: Seconds = 30;
    const LIFETIME: Seconds = 12 * OVERLAP;
    /// How long API servers may take to hear of a bundle where replicas switch, and where one begins.
    const LAG: usize = 5;
    const LAG_AT_START: usize = 1;
    const SKEW: Seconds = 1;

    /// Both objects, with their versions, and how the bundle was.
    #[derive(Clone, Debug)]
    struct World {
        now: Seconds,
        shared: Shared,
        version: u64,
        bundles: Vec<Vec<Authority>>,
        bundles_version: u64,
        written: Option<Seconds>,
        /// The bundle at the end of each of the last rounds.
        before: Vec<Vec<Vec<Authority>>>,
        made: u8,
        promoted: usize,
    }

    #[derive(Clone, Debug, Default)]
    struct Replica {
        skew: Seconds,
        serving: Option<Certificate>,
        /// It had nothing to serve before.
        begins: bool,
        ready: bool,
        /// A step that it decided on, for these versions.
        pending: Option<(Step, u64, u64, Option<Certificate>)>,
        skipped: bool,
    }

    impl World {
        fn new() -> Self {
            Self {
                now: 1_000_000,
                shared: Shared::default(),
                version: 0,
                bundles: vec![Vec::new(), Vec::new()],
                bundles_version: 0,
                written: None,
                before: Vec::new(),
                made: 0,
                promoted: 0,
            }
        }

        fn make(&mut self) -> Certificate {
            self.made += 1;
            let expires = self.now + LIFETIME;
            Certificate {
                authority: Authority {
                    der: vec![self.made],
                    expires,
                },
                issued: self.now,
                expires,
                covers: true,
            }
        }

        /// Writes as `share` does, or is told that it is too late. `now` is the clock of the API server that is asked.
        fn take(&mut self, pending: (Step, u64, u64, Option<Certificate>), now: Seconds) {
            let (step, version, bundles_version, serving) = pending;
            if let Step::Publish(bundle) = step {
                if bundles_version == self.bundles_version {
                    self.bundles.fill(bundle);
                    self.written = Some(now);
                    self.bundles_version += 1;
                }
                return;
            }
            if step == Step::Rest || version != self.version {
                return;
            }
            self.version += 1;
            let previous = |shared: &mut Shared, all: Vec<Authority>| {
                shared.replaced = (!all.is_empty()).then_some(now);
                shared.previous = all;
            };
            match step {
                Step::Rest | Step::Publish(_) => unreachable!(),
                Step::Fill(others) => {
                    let certificate = self.make();
                    self.shared = Shared::default();
                    self.shared.current = Slot::Holds(certificate);
                    previous(&mut self.shared, others);
                }
                Step::Restore(others) => {
                    self.shared.current = Slot::Holds(serving.unwrap());
                    self.shared.next = Slot::Empty;
                    self.shared.published = None;
                    previous(&mut self.shared, others);
                }
                Step::Keep(others) => {
                    let all = [self.shared.previous.clone(), others].concat();
                    previous(&mut self.shared, all);
                }
                Step::Stage(_) => {
                    self.shared.next = Slot::Holds(self.make());
                    self.shared.published = None;
                    self.shared.asked = false;
                }
                Step::Discard => {
                    self.shared.next = Slot::Empty;
                    self.shared.published = None;
                }
                Step::Unmark => self.shared.published = None,
                Step::Mark => self.shared.published = Some(now),
                Step::Promote => {
                    self.promoted += 1;
                    let old = std::mem::replace(
                        &mut self.shared.current,
                        std::mem::take(&mut self.shared.next),
                    );
                    let mut all = self.shared.previous.clone();
                    if let Slot::Holds(old) = old {
                        all.push(old.authority);
                    }
                    self.shared.published = None;
                    previous(&mut self.shared, all);
                }
                Step::MarkReplaced => self.shared.replaced = Some(now),
                Step::Drop => previous(&mut self.shared, Vec::new()),
            }
        }

        /// No API server refuses what a ready replica serves, whether it has heard of the last bundle or not.
        fn check(&self, replicas: &[Replica]) -> Result<(), TestCaseError> {
            for replica in replicas.iter().filter(|r| r.ready) {
                let serving = replica.serving.as_ref().unwrap();
                prop_assert!(
                    serving.expires > self.now,
                    "expired: {replica:?} {:?}",
                    self.shared
                );
                let lag = if replica.begins { LAG_AT_START } else { LAG };
                for bundles in self.before.iter().rev().take(lag).chain([&self.bundles]) {
                    prop_assert!(
                        trusted(bundles, &serving.authority),
                        "{replica:?} {self:#?}"
                    );
                }
            }
            Ok(())
        }
    }

    impl Replica {
        fn view<'a>(&'a self, world: &'a World) -> View<'a> {
            View {
                shared: &world.shared,
                bundles: &world.bundles,
                written: world.written,
                serving: self.serving.as_ref(),
                now: world.now + self.skew,
                overlap: OVERLAP,
            }
        }

        fn look(&mut self, world: &World) {
            if let Slot::Holds(current) = &world.shared.current
                && switches(self.view(world))
                && self.serving.as_ref() != Some(current)
            {
                self.begins = !self.serving.as_ref().is_some_and(|s| {
                    s.expires > world.now && trusted(&world.bundles, &s.authority)
                });
                self.serving = Some(current.clone());
            }
            self.ready |= is_ready(self.view(world));
            let step = next(self.view(world));
            self.pending = Some((
                step,
                world.version,
                world.bundles_version,
                self.serving.clone(),
            ));
        }

        fn act(&mut self, world: &mut World) {
            if let Some(pending) = self.pending.take() {
                let now = world.now + self.skew;
                world.take(pending, now);
            }
        }

        /// Ends, and begins again.
        fn crash(&mut self) {
            *self = Self {
                skew: self.skew,
                ..Self::default()
            };
        }

        /// One round: a few steps, some of which fate interferes with.
        fn round(&mut self, world: &mut World, fate: u8) {
            self.act(world);
            match fate % 16 {
                0 => {
                    self.look(world);
                    self.crash();
                }
                1 => {
                    self.look(world);
                    self.act(world);
                    self.crash();
                }
                2 => self.look(world),
                3 if !self.skipped => {
                    self.skipped = true;
                    return;
                }
                _ => {
                    for _ in 0..4 {
                        self.look(world);
                        self.act(world);
                    }
                }
            }
            self.skipped = false;
        }
    }

    fn round(world: &mut World, replicas: &mut [Replica], fates: u32) {
        let count = replicas.len();
        for i in 0..count {
            let turn = (i + (fates >> 24) as usize) % count;
            let fate = fates.to_le_bytes()[i];
            replicas[turn].round(world, fate);
        }
        world.before.push(world.bundles.clone());
        world.now += 1;
    }

    const CALM: u32 = 0x000f_0f0f;

    /// Replicas that have found their certificate some time ago.
    fn steady(skews: [Seconds; 3]) -> (World, Vec<Replica>) {
        let mut world = World::new();
        let mut replicas: Vec<_> = skews
            .into_iter()
            .map(|skew| Replica {
                skew,
                ..Replica::default()
            })
            .collect();
        for _ in 0..OVERLAP {
            round(&mut world, &mut replicas, CALM);
        }
        (world, replicas)
    }

    fn settle(world: &mut World, replicas: &mut [Replica]) -> Result<(), TestCaseError> {
        for _ in 0..6 * OVERLAP {
            round(world, replicas, CALM);
        }
        // It may just have begun to rotate by age.
        for _ in 0..6 * OVERLAP {
            if world.shared.phase() == Phase::Steady {
                break;
            }
            round(world, replicas, CALM);
        }
        prop_assert_eq!(world.shared.phase(), Phase::Steady);
        let Slot::Holds(current) = &world.shared.current else {
            unreachable!()
        };
        for bundle in &world.bundles {
            prop_assert_eq!(bundle, &vec![current.authority.clone()]);
        }
        for replica in replicas.iter() {
            prop_assert!(replica.ready);
            prop_assert_eq!(replica.serving.as_ref(), Some(current));
        }
        Ok(())
    }

    fn skews() -> impl Strategy<Value = [Seconds; 3]> {
        [-SKEW..=SKEW, -SKEW..=SKEW, -SKEW..=SKEW]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn whatever_ends_and_whoever_is_late_what_is_served_is_trusted(
            skews in skews(),
            fates in prop::collection::vec(any::<u32>(), 600..1000),
        ) {
            let (mut world, mut replicas) = steady(skews);
            for fates in fates {
                round(&mut world, &mut replicas, fates);
                world.check(&replicas)?;
            }
            prop_assert!(world.promoted >= 2);
            settle(&mut world, &mut replicas)?;
        }

        #[test]
        fn a_secret_that_is_emptied_broken_or_set_back_costs_nothing(
            skews in skews(),
            calm in 0..2 * LIFETIME,
            kind in 0..4,
            back in 1..LIFETIME,
            fates in prop::collection::vec(any::<u32>(), 100),
        ) {
            let (mut world, mut replicas) = steady(skews);
            let mut history = vec![world.shared.clone()];
            for _ in 0..calm {
                round(&mut world, &mut replicas, CALM);
                history.push(world.shared.clone());
            }
            world.version += 1;
            let back = usize::try_from(back).unwrap().min(history.len());
            match kind {
                0 => world.shared = Shared::default(),
                1 => world.shared.current = Slot::Unusable,
                2 => world.shared = history[history.len() - back].clone(),
                _ => world.shared.current = Slot::Holds(world.make()),
            }
            // A replica that has not looked since must be there: whoever begins now knows nothing.
            round(&mut world, &mut replicas, CALM);
            world.check(&replicas)?;
            for fates in fates {
                round(&mut world, &mut replicas, fates);
                world.check(&replicas)?;
            }
            settle(&mut world, &mut replicas)?;
        }

        #[test]
        fn a_bundle_that_is_changed_is_put_back_at_the_next_look(
            skews in skews(),
            calm in 0..2 * LIFETIME,
            other in any::<bool>(),
            fates in prop::collection::vec(any::<u32>(), 100),
        ) {
            let (mut world, mut replicas) = steady(skews);
            for _ in 0..calm {
                round(&mut world, &mut replicas, CALM);
            }
            world.bundles_version += 1;
            world.written = None;
            let foreign = world.make().authority;
            world.bundles[0] = if other { vec![foreign] } else { Vec::new() };
            round(&mut world, &mut replicas, CALM);
            // What API servers heard meanwhile cannot be helped.
            world.before.clear();
            for fates in fates {
                round(&mut world, &mut replicas, fates);
                world.check(&replicas)?;
            }
            settle(&mut world, &mut replicas)?;
        }
    }

    #[test]
    fn a_cluster_that_slept_past_the_end_of_its_certificate_gets_another_at_once() {
        let (mut world, mut replicas) = steady([0; 3]);
        world.now += 10 * LIFETIME;
        for replica in &mut replicas {
            replica.crash();
        }
        for _ in 0..=SETTLED {
            round(&mut world, &mut replicas, CALM);
        }
        world.check(&replicas).unwrap();
        assert!(replicas.iter().all(|replica| replica.ready));
        assert_eq!(world.bundles[0].len(), 1);
    }

    #[test]
    fn without_a_configuration_a_certificate_is_made_and_nobody_is_ready() {
        let (mut world, mut replicas) = (World::new(), vec![Replica::default()]);
        let bundles = std::mem::take(&mut world.bundles);
        for _ in 0..3 {
            round(&mut world, &mut replicas, CALM);
        }
        assert!(replicas[0].serving.is_some() && !replicas[0].ready);
        world.bundles = bundles;
        for _ in 0..=SETTLED {
            round(&mut world, &mut replicas, CALM);
        }
        assert!(replicas[0].ready);
    }

    #[test]
    fn names_and_wishes_rotate_before_age_does() {
        for (asked, covers, reason) in [
            (true, true, Some(Reason::Asked)),
            (false, false, Some(Reason::Names)),
            (false, true, None),
        ] {
            let (mut world, mut replicas) = steady([0; 3]);
            world.shared.asked = asked;
            if let Slot::Holds(current) = &mut world.shared.current {
                current.covers = covers;
            }
            replicas[0].look(&world);
            let expected = reason.map_or(Step::Rest, Step::Stage);
            assert_eq!(replicas[0].pending.as_ref().unwrap().0, expected);
        }
    }
}

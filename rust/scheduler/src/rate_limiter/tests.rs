// SPDX-License-Identifier: Apache-2.0
use super::*;

fn weight(priority: u32) -> NonZeroU32 {
    NonZeroU32::new(priority).expect("not zero")
}

fn needs(scope: ResourceScope, resources: &[(&str, u32)], priority: u32) -> InstanceDemand {
    let resources = resources.iter().map(|(name, count)| ResourceDemand {
        name: (*name).to_owned(),
        scope,
        count: *count,
    });
    InstanceDemand {
        resources: resources.collect(),
        priority: weight(priority),
    }
}

fn on_device(resources: &[(&str, u32)]) -> InstanceDemand {
    needs(ResourceScope::Device(0), resources, 1)
}

fn limit(name: &str, count: u32, device: Option<i32>) -> ResourceLimit {
    ResourceLimit {
        name: name.to_owned(),
        device,
        count,
    }
}

/// Returns how often each of the two is granted while both always ask.
fn share(limiter: &mut RateLimiter, keys: [LimiterKey; 2], rounds: usize) -> [usize; 2] {
    let mut counts = [0; 2];
    keys.iter().for_each(|&key| limiter.request(key));
    let mut running = limiter.poll();
    for _ in 0..rounds {
        let [key] = running[..] else {
            panic!("one at a time, not {running:?}")
        };
        counts[usize::from(key == keys[1])] += 1;
        limiter.request(key);
        limiter.release(key);
        running = limiter.poll();
    }
    counts
}

#[test]
fn an_instance_that_needs_nothing_never_waits() {
    let mut limiter = RateLimiter::new(&[]);
    let free = limiter.register(&on_device(&[])).expect("fits");
    for _ in 0..3 {
        limiter.request(free);
    }
    assert_eq!(limiter.poll(), [free; 3]);
    assert_eq!(limiter.poll(), []);
}

#[test]
fn there_is_as_much_as_the_largest_demand_unless_it_is_said() {
    let mut limiter = RateLimiter::new(&[]);
    let large = limiter.register(&on_device(&[("R", 4)])).expect("fits");
    let small = limiter.register(&on_device(&[("R", 2)])).expect("fits");
    for _ in 0..3 {
        limiter.request(small);
    }
    assert_eq!(limiter.poll(), [small, small]);
    limiter.unregister(large);
    limiter.release(small);
    assert_eq!(limiter.poll(), [], "there are two left, and one is held");
    limiter.release(small);
    assert_eq!(limiter.poll(), [small]);
}

#[test]
fn devices_have_their_own_and_global_is_one_for_all() {
    let mut limiter = RateLimiter::new(&[]);
    let mut of = |scope| {
        let key = limiter
            .register(&needs(scope, &[("R", 1)], 1))
            .expect("fits");
        limiter.request(key);
        key
    };
    let keys = [of(ResourceScope::Device(0)), of(ResourceScope::Device(1))];
    assert_eq!(limiter.poll(), keys);
    let mut limiter = RateLimiter::new(&[]);
    let global = needs(ResourceScope::Global, &[("R", 1)], 1);
    let keys = [(), ()].map(|()| limiter.register(&global).expect("fits"));
    keys.iter().for_each(|&key| limiter.request(key));
    assert_eq!(limiter.poll(), [keys[0]]);
}

#[test]
fn one_name_is_of_a_device_or_of_all() {
    let mut limiter = RateLimiter::new(&[]);
    limiter.register(&on_device(&[("R", 1)])).expect("fits");
    let global = needs(ResourceScope::Global, &[("R", 1)], 1);
    let error = limiter.register(&global).expect_err("two scopes");
    assert_eq!(
        error.to_string(),
        "Resource \"R\" is present as both global and device-specific resource in the model \
         configuration."
    );
    let mut both = global.clone();
    both.resources.extend(on_device(&[("R", 1)]).resources);
    assert_eq!(RateLimiter::new(&[]).register(&both), Err(error));
}

#[test]
fn an_instance_that_could_never_execute_is_refused() {
    let limits = [
        limit("R", 3, None),
        limit("R", 9, None),
        limit("R", 1, Some(1)),
        limit("S", 1, Some(0)),
        limit("S", 2, Some(1)),
    ];
    let mut limiter = RateLimiter::new(&limits);
    let mut check = |scope, resources: &[(&str, u32)]| {
        let registered = limiter.register(&needs(scope, resources, 1));
        registered
            .map(|key| limiter.unregister(key))
            .map_err(|error| error.to_string())
    };
    let refused = |name: &str, limit: u32, needed: u32| {
        Err(format!(
            "Resource count for \"{name}\" is limited to {limit} which will prevent scheduling of \
             one or more model instances, the minimum required count is {needed}"
        ))
    };
    assert_eq!(check(ResourceScope::Device(0), &[("R", 3)]), Ok(()));
    assert_eq!(
        check(ResourceScope::Device(0), &[("R", 4)]),
        refused("R", 3, 4)
    );
    assert_eq!(
        check(ResourceScope::Device(1), &[("R", 2)]),
        refused("R", 1, 2)
    );
    assert_eq!(
        check(ResourceScope::Device(2), &[("S", 1)]),
        refused("S", 0, 1),
        "nothing is said of it"
    );
    assert_eq!(
        check(ResourceScope::Global, &[("T", 1)]),
        refused("T", 0, 1)
    );
    assert_eq!(
        check(ResourceScope::Global, &[("S", 2)]),
        Ok(()),
        "the largest"
    );
    assert_eq!(
        check(ResourceScope::Global, &[("S", 3)]),
        refused("S", 2, 3)
    );
}

#[test]
fn a_large_demand_does_not_starve_and_others_go_on() {
    let mut limiter = RateLimiter::new(&[limit("R", 3, None), limit("Q", 1, None)]);
    let small = limiter.register(&on_device(&[("R", 1)])).expect("fits");
    let large = limiter.register(&on_device(&[("R", 3)])).expect("fits");
    let other = limiter.register(&on_device(&[("Q", 1)])).expect("fits");
    limiter.request(small);
    assert_eq!(limiter.poll(), [small]);
    limiter.request(large);
    limiter.request(small);
    limiter.request(other);
    assert_eq!(
        limiter.poll(),
        [other],
        "what is left is kept for the large one"
    );
    limiter.release(small);
    assert_eq!(limiter.poll(), [large]);
    limiter.release(large);
    assert_eq!(limiter.poll(), [small]);
}

#[test]
fn priority_is_a_weight() {
    let mut limiter = RateLimiter::new(&[]);
    let keys = [1, 2].map(|priority| {
        let demand = needs(ResourceScope::Global, &[("R", 1)], priority);
        limiter.register(&demand).expect("fits")
    });
    assert_eq!(share(&mut limiter, keys, 300), [200, 100]);
}

#[test]
fn a_rest_is_not_made_up_for() {
    let mut limiter = RateLimiter::new(&[]);
    let demand = needs(ResourceScope::Global, &[("R", 1)], 1);
    let keys = [(), ()].map(|()| limiter.register(&demand).expect("fits"));
    for _ in 0..100 {
        limiter.request(keys[0]);
        assert_eq!(limiter.poll(), [keys[0]]);
        limiter.release(keys[0]);
    }
    let [first, second] = share(&mut limiter, keys, 20);
    assert!(first.abs_diff(second) <= 1, "{first} and {second}");
}

#[test]
fn what_goes_gives_back_what_it_held() {
    let mut limiter = RateLimiter::new(&[limit("R", 2, None)]);
    let gone = limiter.register(&on_device(&[("R", 2)])).expect("fits");
    limiter.request(gone);
    limiter.request(gone);
    assert_eq!(limiter.poll(), [gone]);
    let stays = limiter.register(&on_device(&[("R", 2)])).expect("fits");
    limiter.request(stays);
    assert_eq!(limiter.poll(), []);
    limiter.unregister(gone);
    assert_eq!(limiter.poll(), [stays]);
    // Of no effect once it is gone.
    limiter.request(gone);
    limiter.release(gone);
    assert_eq!(limiter.poll(), []);
}

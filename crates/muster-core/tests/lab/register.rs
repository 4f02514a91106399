//! Devices that are added to the lab, and devices that announce themselves.

use crate::kit::World;
use muster_core::change::Registration;
use muster_core::lab::{Input, Registering};

fn device(host: &str, name: &str, address: &str, adopted: Option<&str>) -> Input {
    Input::Register(Registering::Add(Box::new(Registration {
        host: host.to_owned(),
        name: name.to_owned(),
        address: address.to_owned(),
        labels: [("kind".to_owned(), "board".to_owned())].into(),
        by: "10.0.0.7".to_owned(),
        since: muster_core::time::Time(1),
        adopted: adopted.map(str::to_owned),
    })))
}

fn addresses(world: &World, host: &str) -> Vec<String> {
    world.lab.added_to(host).into_iter().map(|o| o.labels["address"].clone()).collect()
}

#[test]
fn a_device_that_announces_itself_is_a_proposal_until_a_person_adopts_it() {
    let mut world = World::new("a");
    world.apply(device("", "b1", "sut://10.0.0.7", None)).unwrap();
    assert_eq!(addresses(&world, "east"), [""; 0]);
    assert_eq!(world.lab.view(world.now).registered.len(), 1);
    let [host, name, to, by] = ["", "b1", "east", "ana"].map(str::to_owned);
    world.apply(Input::Register(Registering::Adopt { host, name, to, by })).unwrap();
    world.restart();
    assert_eq!(addresses(&world, "east"), ["sut://10.0.0.7"]);
    assert_eq!(addresses(&world, "west"), [""; 0]);
}

#[test]
fn announcing_again_changes_what_is_other_and_what_is_the_same_is_no_news() {
    let mut world = World::new("a");
    world.apply(device("east", "b1", "sut://10.0.0.7", Some("ana"))).unwrap();
    let saved = world.saved.len();
    world.apply(device("east", "b1", "sut://10.0.0.7", None)).unwrap();
    assert_eq!(world.saved.len(), saved, "it says the same");
    world.apply(device("east", "b1", "sut://10.0.0.8", None)).unwrap();
    assert_eq!(addresses(&world, "east"), ["sut://10.0.0.8"], "and it is still adopted");
    let [host, name] = ["east", "b1"].map(str::to_owned);
    world.apply(Input::Register(Registering::Remove { host: host.clone(), name: name.clone() })).unwrap();
    assert_eq!(addresses(&world, "east"), [""; 0]);
    assert_eq!(
        world.apply(Input::Register(Registering::Remove { host, name })).unwrap_err().code(),
        "not-registered"
    );
}

#[test]
fn who_announces_without_end_is_stopped_and_does_not_keep_people_from_adding() {
    let mut world = World::new("a");
    for n in 0..1_000 {
        world.lab.apply(world.now, device("east", &format!("b{n}"), "x", None)).unwrap();
    }
    assert_eq!(world.apply(device("east", "more", "x", None)).unwrap_err().code(), "too-many-proposals");
    world.apply(device("east", "more", "x", Some("ana"))).unwrap();
}

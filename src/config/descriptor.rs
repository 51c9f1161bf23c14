//! What tools show of a parameter besides its value.

use super::live::Live;
use super::parameters::{self, Kind, Parameter};

/// What is to be known of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Descriptor {
    /// What it means, and its unit.
    pub description: String,
    /// What it may be, in words; empty where the range says it all.
    pub constraints: String,
    /// What a number may be.
    pub range: Option<Range>,
    /// Whether it keeps the value of the start.
    pub is_read_only: bool,
}

/// The least and the greatest value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// Of whole numbers.
    Integer(i64, i64),
    /// Of numbers.
    Double(f64, f64),
}

impl Live {
    /// The descriptor of the parameter `name`; `None` where there is no such parameter.
    pub fn descriptor(&self, name: &str) -> Option<Descriptor> {
        let parameter = self.find(name)?;
        let description = match parameters::find_of_camera(name) {
            Some((camera, _)) => format!("Camera {camera}: {}", parameter.description()),
            None => parameter.description(),
        };
        let range = parameter.kind.range();
        let constraints =
            if range.is_some() { String::new() } else { format!("valid is {}", parameter.valid()) };
        Some(Descriptor { description, constraints, range, is_read_only: !self.is_changeable(name) })
    }
}

impl Parameter {
    fn description(&self) -> String {
        match self.unit {
            "" => self.doc.to_owned(),
            unit => format!("{} Unit: {unit}.", self.doc),
        }
    }
}

impl Kind {
    fn range(&self) -> Option<Range> {
        match *self {
            Self::Integer(min, max) => Some(Range::Integer(min, max)),
            Self::Double(min, max) => Some(Range::Double(min, max)),
            Self::Bool | Self::Choice(_) | Self::Text(..) | Self::WordOrInteger(..) | Self::Names(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::origin::Origin;
    use super::super::settings::{Settings, Values};
    use super::super::value::Value;
    use super::*;

    fn values(cameras: &[&str]) -> Values {
        let mut settings = Settings::default();
        settings.set("model", Value::String("random:tiny".into()), Origin::Default);
        let names = cameras.iter().map(|&name| name.to_owned()).collect();
        settings.set("cameras", Value::StringArray(names), Origin::Default);
        Values::new(&settings).unwrap()
    }

    fn live(cameras: &[&str]) -> Live {
        Live::new(values(cameras), |_| ())
    }

    fn check(cameras: &[&str], name: &str, expect: &str) {
        let descriptor = live(cameras).descriptor(name).map(|descriptor| {
            let Descriptor { description, constraints, range, is_read_only } = descriptor;
            let sentence = description.split_once('.').map(|(first, _)| first.to_owned()).unwrap_or_default();
            format!("{sentence} | {constraints} | {range:?} | {is_read_only}")
        });
        assert_eq!(descriptor.unwrap_or_default(), expect);
    }

    #[test]
    fn a_descriptor_says_what_the_table_says() {
        let rate = "Maximum frames per second taken from a camera";
        check(&[], "max_rate", &format!("{rate} |  | Some(Double(0.0, 1000.0)) | false"));
        check(
            &[],
            "batch_max",
            "Maximum number of images, from several cameras, in one forward pass |  | Some(Integer(1, 64)) | \
             true",
        );
        check(
            &[],
            "log_level",
            "Lowest severity that is logged, to stderr and to /rosout | valid is debug, info, warn or error \
             | None | false",
        );
        check(
            &[],
            "layer",
            "Block whose tokens become the features, counted from 1 | valid is last or a whole number from 1 \
             | None | true",
        );
        check(&[], "nonsense", "");
        check(&[], "front.max_rate", "");
        check(&["front"], "max_rate", &format!("{rate} |  | Some(Double(0.0, 1000.0)) | true"));
        check(
            &["front"],
            "front.max_rate",
            &format!("Camera front: {rate} |  | Some(Double(0.0, 1000.0)) | false"),
        );
    }

    #[test]
    fn a_unit_is_part_of_the_description() {
        let descriptor = live(&[]).descriptor("max_age").unwrap();
        assert!(descriptor.description.ends_with(" Unit: s."), "{}", descriptor.description);
    }

    #[test]
    fn every_declared_parameter_has_a_descriptor() {
        let values = values(&["front", "rear"]);
        let live = Live::new(values.clone(), |_| ());
        let names = values.iter().map(|(name, _)| name);
        let lacking: Vec<_> = names.filter(|name| live.descriptor(name).is_none()).collect();
        assert!(lacking.is_empty(), "{lacking:?}");
    }
}

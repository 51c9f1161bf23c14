//! All parameters: what each is called, means and may be, one file for each heading. The command line, its
//! help, the checks, the cells of those that change at run time and `config/pixio.yaml` follow them.

mod check;
mod heads;
mod input;
mod live;
mod model;
mod outputs;
mod reports;
mod teaching;
mod topics;

/// One parameter.
#[derive(Debug)]
pub struct Parameter {
    /// As in ROS; the option is the same with dashes.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// As one would type it; `None` when it must be given.
    pub default: Option<&'static str>,
    /// Unit of the number, or nothing.
    pub unit: &'static str,
    /// One sentence or two.
    pub doc: &'static str,
    /// Whether it can change while the node runs.
    pub at_run_time: bool,
    /// Whether `infer` has an option for it.
    pub offline: bool,
    /// Whether each of several cameras may have its own, as in `front.max_rate`.
    pub per_camera: bool,
    /// Heading in the help and in `config/pixio.yaml`.
    pub group: &'static str,
}

/// What a parameter may be.
#[derive(Debug)]
pub enum Kind {
    /// true or false.
    Bool,
    /// A whole number from the first bound to the second.
    Integer(i64, i64),
    /// A number from the first bound to the second; whole ones are taken too.
    Double(f64, f64),
    /// One of a few words.
    Choice(fn() -> Vec<&'static str>),
    /// Text: what stands for it in the help, what is valid, and the check.
    Text(&'static str, &'static str, fn(&str) -> Result<(), String>),
    /// The word, or a whole number within the bounds; `i64::MAX` bounds nothing.
    WordOrInteger(&'static str, i64, i64),
    /// Names that ROS allows, each once; what stands for them in the help.
    Names(&'static str),
}

impl Parameter {
    /// Most parameters are read at start and mean something to `infer` as well.
    const fn new(
        group: &'static str,
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default: Some(default),
            unit: "",
            doc,
            at_run_time: false,
            offline: true,
            per_camera: false,
            group,
        }
    }

    const fn in_unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// The parameter can change while the node runs. A kind that [`super::Live`] has no cell for does not
    /// compile.
    const fn changeable(self) -> Self {
        let has_cell = matches!(self.kind, Kind::Bool | Kind::Double(..) | Kind::Choice(_));
        assert!(
            has_cell,
            "a parameter of this kind cannot change at run time: config/live.rs has no cell for it"
        );
        Self { at_run_time: true, ..self }
    }

    const fn online_only(self) -> Self {
        Self { offline: false, ..self }
    }

    const fn per_camera(self) -> Self {
        Self { per_camera: true, ..self }
    }

    const fn required(self) -> Self {
        Self { default: None, ..self }
    }
}

/// Every parameter, in the order of the help.
pub fn all() -> impl Iterator<Item = &'static Parameter> {
    let groups: [&[Parameter]; 8] = [
        &model::PARAMETERS,
        &input::PARAMETERS,
        &heads::PARAMETERS,
        &teaching::PARAMETERS,
        &topics::PARAMETERS,
        &outputs::PARAMETERS,
        &reports::PARAMETERS,
        &live::PARAMETERS,
    ];
    groups.into_iter().flatten()
}

/// The parameter of that name.
pub fn find(name: &str) -> Option<&'static Parameter> {
    all().find(|parameter| parameter.name == name)
}

/// The camera and the parameter of it that a name such as `front.max_rate` means.
pub fn find_of_camera(name: &str) -> Option<(&str, &'static Parameter)> {
    let (camera, name) = name.split_once('.')?;
    Some((camera, find(name).filter(|parameter| parameter.per_camera)?))
}

/// The parameter that `name` is, the node's or a camera's.
pub fn find_any(name: &str) -> Option<&'static Parameter> {
    find(name).or_else(|| find_of_camera(name).map(|(_, parameter)| parameter))
}

/// Parameters of which each camera may have its own.
pub fn per_camera() -> impl Iterator<Item = &'static Parameter> {
    all().filter(|parameter| parameter.per_camera)
}

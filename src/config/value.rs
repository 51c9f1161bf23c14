//! Parameter values, of the types that ROS has.

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// true or false.
    Bool(bool),
    /// 64-bit whole number.
    Integer(i64),
    /// 64-bit float.
    Double(f64),
    /// UTF-8 text.
    String(String),
    /// Bytes; only ROS messages carry them, YAML cannot say them.
    ByteArray(Vec<u8>),
    /// Several of [`Value::Bool`].
    BoolArray(Vec<bool>),
    /// Several of [`Value::Integer`].
    IntegerArray(Vec<i64>),
    /// Several of [`Value::Double`].
    DoubleArray(Vec<f64>),
    /// Several of [`Value::String`]; an empty YAML list is one of these.
    StringArray(Vec<String>),
}

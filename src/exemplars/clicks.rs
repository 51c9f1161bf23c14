//! Files of clicks: CSV whose first line names the columns `image`, `x`, `y` and `class`, in any order.

use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};

use super::names::checked_name;
use crate::files;
use crate::text::foreign;

/// Most bytes of a file.
const MOST_BYTES: u64 = 64 << 20;

const COLUMNS: [&str; 4] = ["image", "x", "y", "class"];

/// A pixel of an image that shows a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Click {
    /// Line of the file, counted from 1.
    pub line: u64,
    /// The image file, from the folder of the file of clicks.
    pub image: PathBuf,
    /// x and y in the image; finite.
    pub pixel: [f64; 2],
    /// Name of the class.
    pub class: String,
}

impl Click {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// It cannot be read, or one sentence about the first line that is no click.
    pub fn read(path: &Path) -> anyhow::Result<Vec<Self>> {
        Self::parse(&files::read(path, MOST_BYTES)?).map_err(anyhow::Error::msg)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Self>, String> {
        let text = std::str::from_utf8(bytes).map_err(|err| {
            format!("line {}: it is not UTF-8 text", 1 + n_ends(&bytes[..err.valid_up_to()]))
        })?;
        let expected = COLUMNS.join(",");
        let mut reader = ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(text.as_bytes());
        let header = reader.headers().map_err(|err| err.to_string())?.clone();
        if header.is_empty() {
            return Err(format!("the file is empty, and a first line {expected} is expected"));
        }
        let places = places(&header)?;
        let (mut clicks, mut lines) = (Vec::new(), Lines { text: bytes, at: 0, line: 1 });
        for row in reader.into_records() {
            let row = row.map_err(|err| err.to_string())?;
            // Spreadsheets leave rows of commas alone.
            if row.iter().any(|value| !value.is_empty()) {
                clicks.push(Self::of(&row, lines.of(&row), header.len(), places)?);
            }
        }
        match clicks.is_empty() {
            true => Err("there is no click: each is a line below the first".to_owned()),
            false => Ok(clicks),
        }
    }

    fn of(row: &StringRecord, line: u64, n_columns: usize, places: [usize; 4]) -> Result<Self, String> {
        if row.len() != n_columns {
            let read = if row.len() == 1 { "value was" } else { "values were" };
            return Err(format!("line {line}: {} {read} read, and {n_columns} are expected", row.len()));
        }
        let [image, x, y, class] = places.map(|place| row.get(place).unwrap_or_default());
        let wrong = |column: &str, read: &str, expected: &str| {
            format!("line {line}, column {column}: {:?} was read, and {expected} is expected", foreign(read))
        };
        let number = |column: &str, read: &str| {
            let number = read.parse().ok().filter(|number: &f64| number.is_finite());
            number.ok_or_else(|| wrong(column, read, "a finite number"))
        };
        if image.is_empty() {
            return Err(wrong("image", image, "the name of an image file"));
        }
        let class = checked_name(class).map_err(|why| format!("line {line}, column class: {why}"))?;
        Ok(Self {
            line,
            image: image.into(),
            pixel: [number("x", x)?, number("y", y)?],
            class: class.to_owned(),
        })
    }
}

/// Counts lines on the way through a text; csv counts the end of a line with the next one.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of `row`, which is not before the last one.
    fn of(&mut self, row: &StringRecord) -> u64 {
        let begin = row.position().map_or(0, csv::Position::byte);
        let passed = usize::try_from(begin).unwrap_or_default().clamp(self.at, self.text.len());
        let is_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let begin = passed + self.text[passed..].iter().take_while(is_end).count();
        self.line += n_ends(&self.text[self.at..begin]);
        self.at = begin;
        self.line
    }
}

/// Ends of lines in `text`.
fn n_ends(text: &[u8]) -> u64 {
    text.split(|&byte| byte == b'\n').skip(1).count() as u64
}

/// Where each of [`COLUMNS`] stands in `header`.
fn places(header: &StringRecord) -> Result<[usize; 4], String> {
    let found = COLUMNS.map(|column| header.iter().enumerate().filter(move |(_, name)| *name == column));
    let mut places = [0; 4];
    for ((place, column), mut found) in places.iter_mut().zip(COLUMNS).zip(found) {
        let read = || header.iter().collect::<Vec<_>>().join(",");
        let wrong = |what: &str| {
            let expected = COLUMNS.join(",");
            format!("line 1: {what} {column}: {:?} was read, and {expected} is expected", foreign(&read()))
        };
        *place = found.next().ok_or_else(|| wrong("there is no column"))?.0;
        if found.next().is_some() {
            return Err(wrong("there are two columns"));
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line, image, pixel and class.
    type Row<'a> = (u64, &'a str, [f64; 2], &'a str);

    fn check(text: impl AsRef<[u8]>, expect: Result<&[Row], &str>) {
        let shown = String::from_utf8_lossy(text.as_ref()).into_owned();
        let click = |&(line, image, pixel, class): &Row| Click {
            line,
            image: image.into(),
            pixel,
            class: class.to_owned(),
        };
        let expect = expect.map(|rows| rows.iter().map(click).collect()).map_err(str::to_owned);
        assert_eq!(Click::parse(text.as_ref()), expect, "{shown}");
    }

    #[test]
    fn clicks_are_read_by_the_names_of_their_columns() {
        let two: &[_] = &[(2, "a.png", [1.0, 2.0], "door"), (3, "b.png", [3.5, -0.5], "the floor, there")];
        let text = "image,x,y,class\na.png,1,2,door\nb.png, 3.5, -0.5,\"the floor, there\"\n";
        check(text, Ok(two));
        check(text.replace('\n', "\r\n"), Ok(two));
        check(format!("\u{feff}{text}"), Ok(two));
        check(text.trim_end(), Ok(two));
        check("class,note,image,y,x\n door ,,a.png,2,1e1\n", Ok(&[(2, "a.png", [10.0, 2.0], "door")]));
        check("image,x,y,class\n\n\r\na,1,2,b\n", Ok(&[(4, "a", [1.0, 2.0], "b")]));
        check(
            "\nimage,x,y,class\n,,,\n \na,1,2,b\n,,,\n\"c\nd\",1,2,b\ne,1,2,b",
            Ok(&[(5, "a", [1.0, 2.0], "b"), (7, "c\nd", [1.0, 2.0], "b"), (9, "e", [1.0, 2.0], "b")]),
        );
    }

    #[test]
    fn what_is_no_click_gets_its_line_its_column_and_what_is_expected() {
        let empty = "the file is empty, and a first line image,x,y,class is expected";
        for text in ["", "\n", "\r\n\r\n", "\u{feff}"] {
            check(text, Err(empty));
        }
        let row =
            |row: &str, expect: &str| check(format!("image,x,y,class\na.png,1,2,a\n{row}"), Err(expect));
        check(
            "image,x,y\na.png,1,2\n",
            Err("line 1: there is no column class: \"image,x,y\" was read, and image,x,y,class is expected"),
        );
        check(
            "image;x;y;class\n",
            Err("line 1: there is no column image: \"image;x;y;class\" was read, and \
                 image,x,y,class is expected"),
        );
        check(
            "a.png,1,2,door\n",
            Err("line 1: there is no column image: \"a.png,1,2,door\" was read, and \
                 image,x,y,class is expected"),
        );
        check(
            "image,x,y,class,x\n",
            Err("line 1: there are two columns x: \"image,x,y,class,x\" was read, and \
                 image,x,y,class is expected"),
        );
        check("image,x,y,class\n", Err("there is no click: each is a line below the first"));
        row("a.png", "line 3: 1 value was read, and 4 are expected");
        row("a.png,1\n", "line 3: 2 values were read, and 4 are expected");
        row("a.png,1,5,2,door\n", "line 3: 5 values were read, and 4 are expected");
        row("a.png,left,2,door", "line 3, column x: \"left\" was read, and a finite number is expected");
        row("a.png,1,,door", "line 3, column y: \"\" was read, and a finite number is expected");
        row("a.png,1,NaN,door", "line 3, column y: \"NaN\" was read, and a finite number is expected");
        row("a.png,-inf,1,door", "line 3, column x: \"-inf\" was read, and a finite number is expected");
        row("a.png,1e999,1,door", "line 3, column x: \"1e999\" was read, and a finite number is expected");
        row(",1,2,door", "line 3, column image: \"\" was read, and the name of an image file is expected");
        row("a.png,1,2, ", "line 3, column class: a class needs a name");
        row(
            "a.png,1,2,do\u{200b}or",
            "line 3, column class: the class name \"do\\u{200b}or\" has the character U+200B, which cannot \
             be seen: leave it out",
        );
        check(b"image,x,y,class\na.png,1,2,\xe4\n", Err("line 2: it is not UTF-8 text"));
    }
}

//! Writes JPEG files of structures that no encoder at hand writes (ITU-T T.81). It is slow, and its Huffman
//! tables give every symbol a code of the same length.

use std::f64::consts::PI;

/// Zigzag order: natural index of the k-th coefficient.
#[rustfmt::skip]
const NATURAL: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,
    7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31,
    39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];
const DC_CODE_BITS: u32 = 5;
const AC_CODE_BITS: u32 = 9;

/// One scan: which components, and in a progressive file which coefficients and bits.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub(super) components: Vec<usize>,
    pub(super) first: u8,
    pub(super) last: u8,
    pub(super) had_low: u8,
    pub(super) low: u8,
}

impl Scan {
    /// All of these components.
    pub(super) fn whole(components: &[usize]) -> Self {
        Self { components: components.to_vec(), first: 0, last: 63, had_low: 0, low: 0 }
    }

    /// Coefficients of one component.
    pub(super) fn band(component: usize, first: u8, last: u8) -> Self {
        Self { components: vec![component], first, last, had_low: 0, low: 0 }
    }

    /// BitWriter of the means.
    pub(super) fn means(components: &[usize], had_low: u8, low: u8) -> Self {
        Self { components: components.to_vec(), first: 0, last: 0, had_low, low }
    }
}

/// What to write.
#[derive(Clone, Debug)]
pub(super) struct Jpeg {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Marker of the frame header; 0xc2 is progressive.
    pub(super) frame: u8,
    pub(super) ids: Vec<u8>,
    pub(super) sampling: Vec<(usize, usize)>,
    pub(super) scans: Vec<Scan>,
    /// MCUs between two restarts; 0 has none.
    pub(super) restart: usize,
    /// Whether quantisation tables have 16 bits.
    pub(super) wide_tables: bool,
    /// Segments behind the start: markers and contents.
    pub(super) segments: Vec<(u8, Vec<u8>)>,
}

impl Jpeg {
    /// Baseline in one scan.
    pub(super) fn new(width: usize, height: usize, sampling: &[(usize, usize)]) -> Self {
        let n = sampling.len();
        let components: Vec<usize> = (0..n).collect();
        Self {
            width,
            height,
            frame: 0xc0,
            ids: (1..=n as u8).collect(),
            sampling: sampling.to_vec(),
            scans: vec![Scan::whole(&components)],
            restart: 0,
            wide_tables: false,
            segments: Vec::new(),
        }
    }

    /// The file; `sample` gives the component's value at a pixel of the image.
    pub(super) fn write(&self, sample: impl Fn(usize, usize, usize) -> u8) -> Vec<u8> {
        let planes: Vec<Plane> = (0..self.ids.len()).map(|c| self.plane(c, &sample)).collect();
        let mut file = vec![0xff, 0xd8];
        for (marker, content) in &self.segments {
            segment(&mut file, *marker, content);
        }
        segment(&mut file, 0xdb, &self.quantization());
        let mut header = vec![8];
        header.extend((self.height as u16).to_be_bytes());
        header.extend((self.width as u16).to_be_bytes());
        header.push(self.ids.len() as u8);
        for (id, (h, v)) in self.ids.iter().zip(&self.sampling) {
            header.extend([*id, (h << 4 | v) as u8, 0]);
        }
        segment(&mut file, self.frame, &header);
        segment(&mut file, 0xc4, &huffman(0x00, DC_CODE_BITS, 12));
        segment(&mut file, 0xc4, &huffman(0x10, AC_CODE_BITS, 255));
        if self.restart > 0 {
            segment(&mut file, 0xdd, &(self.restart as u16).to_be_bytes());
        }
        for scan in &self.scans {
            let mut header = vec![scan.components.len() as u8];
            header.extend(scan.components.iter().flat_map(|&c| [self.ids[c], 0]));
            header.extend([scan.first, scan.last, scan.had_low << 4 | scan.low]);
            segment(&mut file, 0xda, &header);
            self.code(scan, &planes, &mut file);
        }
        file.extend([0xff, 0xd9]);
        file
    }

    fn quantization(&self) -> Vec<u8> {
        let steps = (0..64).map(|k| 3 + k / 8);
        let wide = |step: u16| step.to_be_bytes().to_vec();
        let each = steps.flat_map(|step: u16| if self.wide_tables { wide(step) } else { vec![step as u8] });
        std::iter::once(if self.wide_tables { 0x10 } else { 0 }).chain(each).collect()
    }

    fn most(&self) -> (usize, usize) {
        let across = self.sampling.iter().map(|s| s.0).max().unwrap();
        (across, self.sampling.iter().map(|s| s.1).max().unwrap())
    }

    fn n_mcus(&self) -> (usize, usize) {
        let (across, down) = self.most();
        (self.width.div_ceil(8 * across), self.height.div_ceil(8 * down))
    }

    fn plane(&self, component: usize, sample: &impl Fn(usize, usize, usize) -> u8) -> Plane {
        let ((h, v), (across, down)) = (self.sampling[component], self.most());
        let (mcus_across, mcus_down) = self.n_mcus();
        let (columns, rows) = (mcus_across * h, mcus_down * v);
        let value = |x: usize, y: usize| {
            let (x, y) = ((x * across / h).min(self.width - 1), (y * down / v).min(self.height - 1));
            f64::from(sample(component, x, y)) - 128.0
        };
        let block = |at: usize| transformed(|x, y| value(at % columns * 8 + x, at / columns * 8 + y));
        let blocks = (0..columns * rows).map(block).collect();
        let (own_columns, own_rows) =
            ((self.width * h).div_ceil(8 * across), (self.height * v).div_ceil(8 * down));
        Plane { columns, own_columns, own_rows, blocks }
    }

    fn code(&self, scan: &Scan, planes: &[Plane], file: &mut Vec<u8>) {
        let (mcus_across, mcus_down) = self.n_mcus();
        let blocks_of = |mcu: usize| -> Vec<(usize, usize)> {
            if let [component] = scan.components[..] {
                let plane = &planes[component];
                let (row, column) = (mcu / plane.own_columns, mcu % plane.own_columns);
                return vec![(component, row * plane.columns + column)];
            }
            let (row, column) = (mcu / mcus_across, mcu % mcus_across);
            let of = |&c: &usize| {
                let (h, v) = self.sampling[c];
                let columns = planes[c].columns;
                (0..h * v).map(move |i| (c, (row * v + i / h) * columns + column * h + i % h))
            };
            scan.components.iter().flat_map(of).collect()
        };
        let n_mcus = match scan.components[..] {
            [component] => planes[component].own_columns * planes[component].own_rows,
            _ => mcus_across * mcus_down,
        };
        let mut bits = BitWriter { file, value: 0, n_pending: 0, run: 0 };
        let mut means = vec![0; planes.len()];
        for mcu in 0..n_mcus {
            if self.restart > 0 && mcu > 0 && mcu % self.restart == 0 {
                bits.flush();
                bits.file.extend([0xff, 0xd0 + ((mcu / self.restart - 1) % 8) as u8]);
                means.fill(0);
            }
            for (component, block) in blocks_of(mcu) {
                let block = &planes[component].blocks[block];
                bits.block(block, scan, self.frame == 0xc2, &mut means[component]);
            }
        }
        bits.flush();
    }
}

/// Quantised coefficients of a component, in zigzag order.
struct Plane {
    columns: usize,
    own_columns: usize,
    own_rows: usize,
    blocks: Vec<[i32; 64]>,
}

fn segment(file: &mut Vec<u8>, marker: u8, content: &[u8]) {
    file.extend([0xff, marker]);
    file.extend((content.len() as u16 + 2).to_be_bytes());
    file.extend(content);
}

/// A table in which the symbols below `n` have themselves as codes, of `n_bits`.
fn huffman(id: u8, n_bits: u32, n: u8) -> Vec<u8> {
    let mut table = vec![id];
    table.extend((1..=16).map(|length| if length == n_bits { n } else { 0 }));
    table.extend(0..n);
    table
}

fn transformed(value: impl Fn(usize, usize) -> f64) -> [i32; 64] {
    let samples: Vec<f64> = (0..64).map(|i| value(i % 8, i / 8)).collect();
    if samples.iter().all(|sample| *sample == samples[0]) {
        let mut block = [0; 64];
        block[0] = (samples[0] * 8.0 / 3.0).round() as i32;
        return block;
    }
    let scale = |k: usize| if k == 0 { 0.5_f64.sqrt() } else { 1.0 };
    let wave = |k: usize, x: usize| ((2 * x + 1) as f64 * k as f64 * PI / 16.0).cos();
    let waves: Vec<f64> = (0..64).map(|i| wave(i / 8, i % 8)).collect();
    let mut block = [0; 64];
    for (k, coefficient) in block.iter_mut().enumerate() {
        let (u, v) = (NATURAL[k] % 8, NATURAL[k] / 8);
        let sum: f64 = (0..64).map(|i| samples[i] * waves[u * 8 + i % 8] * waves[v * 8 + i / 8]).sum();
        *coefficient = (sum * scale(u) * scale(v) / 4.0 / (3 + k / 8) as f64).round() as i32;
    }
    block
}

/// Coded data, with a zero behind every byte of ones.
struct BitWriter<'a> {
    file: &'a mut Vec<u8>,
    value: u32,
    n_pending: u32,
    /// Blocks without further coefficients that have not been sent.
    run: u32,
}

impl BitWriter<'_> {
    fn put(&mut self, value: u32, n_bits: u32) {
        for i in (0..n_bits).rev() {
            self.value = self.value << 1 | value >> i & 1;
            self.n_pending += 1;
            if self.n_pending == 8 {
                let byte = self.value as u8;
                self.file.extend([byte, 0].iter().take(if byte == 0xff { 2 } else { 1 }));
                (self.value, self.n_pending) = (0, 0);
            }
        }
    }

    fn flush(&mut self) {
        self.end_run();
        self.put(u32::MAX, (8 - self.n_pending) % 8);
    }

    fn end_run(&mut self) {
        if self.run > 0 {
            let n_bits = self.run.ilog2();
            self.put(n_bits << 4, AC_CODE_BITS);
            self.put(self.run, n_bits);
            self.run = 0;
        }
    }

    /// A value behind the code of `n_zeros` and its length.
    fn value(&mut self, n_zeros: u32, value: i32, code_bits: u32) {
        let n_bits = 32 - value.unsigned_abs().leading_zeros();
        self.put(n_zeros << 4 | n_bits, code_bits);
        self.put((if value < 0 { value - 1 } else { value }) as u32, n_bits);
    }

    /// The part of a block that belongs to `scan`; `mean` is that of the block before.
    fn block(&mut self, block: &[i32; 64], scan: &Scan, has_runs: bool, mean: &mut i32) {
        if scan.first == 0 && scan.had_low > 0 {
            return self.put((block[0] >> scan.low) as u32, 1);
        }
        if scan.first == 0 {
            let new = block[0] >> scan.low;
            self.value(0, new - *mean, DC_CODE_BITS);
            *mean = new;
        }
        let mut n_zeros = 0;
        for &coefficient in &block[usize::from(scan.first.max(1))..=usize::from(scan.last)] {
            if coefficient == 0 {
                n_zeros += 1;
                continue;
            }
            self.end_run();
            while n_zeros > 15 {
                self.put(0xf0, AC_CODE_BITS);
                n_zeros -= 16;
            }
            self.value(n_zeros, coefficient, AC_CODE_BITS);
            n_zeros = 0;
        }
        if n_zeros > 0 && has_runs {
            self.run += 1;
            if self.run == 0x7fff {
                self.end_run();
            }
        } else if n_zeros > 0 {
            self.put(0, AC_CODE_BITS);
        }
    }
}

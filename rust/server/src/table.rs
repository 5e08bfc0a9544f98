// SPDX-License-Identifier: Apache-2.0
//! The ASCII tables of the start-up log (C011).

/// Lays out rows under a header; cells may have several lines.
pub(crate) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .flat_map(|cell| cell.lines());
        cells
            .chain([header[column]])
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let rule = widths
        .iter()
        .map(|width| format!("+{}", "-".repeat(width + 2)))
        .collect::<String>();
    let rule = format!("{rule}+\n");
    let mut table = rule.clone();
    let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    push_row(&mut table, &widths, &header);
    table.push_str(&rule);
    for row in rows {
        push_row(&mut table, &widths, row);
    }
    table.push_str(&rule);
    table
}

fn push_row(table: &mut String, widths: &[usize], cells: &[String]) {
    let height = cells
        .iter()
        .map(|cell| cell.lines().count())
        .max()
        .unwrap_or(0)
        .max(1);
    for line in 0..height {
        for (width, cell) in widths.iter().zip(cells) {
            let text = cell.lines().nth(line).unwrap_or_default();
            table.push_str(&format!("| {text:<width$} "));
        }
        table.push_str("|\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_longest_line() {
        let rows = vec![
            vec!["add_sub".to_owned(), "READY".to_owned()],
            vec!["b".to_owned(), "UNAVAILABLE: x\ny".to_owned()],
        ];
        let expected = "\
+---------+----------------+
| Model   | Status         |
+---------+----------------+
| add_sub | READY          |
| b       | UNAVAILABLE: x |
|         | y              |
+---------+----------------+
";
        assert_eq!(render(&["Model", "Status"], &rows), expected);
    }
}

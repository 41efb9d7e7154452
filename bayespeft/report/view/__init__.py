"""What a report looks like: charts, tables, pages of HTML."""

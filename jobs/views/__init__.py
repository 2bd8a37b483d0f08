"""Everything made from a data set: subtitles, exports, the report, comparisons."""

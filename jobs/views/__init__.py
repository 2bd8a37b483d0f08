"""What is made from a data set: report, subtitles, exports, comparison."""

"""Questions that people ask of recurrent backpropagation, each answered by running the library on a small example."""

from rnnbp.explaining.answers import Answer as Answer
from rnnbp.explaining.answers import Formula as Formula
from rnnbp.explaining.answers import Table as Table
from rnnbp.explaining.questions import QUESTIONS as QUESTIONS
from rnnbp.explaining.questions import Question as Question
from rnnbp.explaining.questions import question as question
from rnnbp.explaining.writing import html as html
from rnnbp.explaining.writing import markdown as markdown

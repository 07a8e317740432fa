"""A little everyday English and Chinese, from which the text tokenizer of a random checkpoint learns its merges.

Its English words are also the words of the random answers.
"""

from typing import Final

TEXT: Final = """
User will provide you with a speech instruction. Do it step by step. First, think about the instruction and respond in
a interleaved manner, with 13 text token followed by 26 audio tokens. User will provide you with a text instruction.
streaming_transcription streaming_transcription

Good morning. How are you today? I am very well, thank you, and you? The weather is fine: a warm wind comes from the
south, the sky is clear and blue, and there will be no rain before evening. Tomorrow it may be cold and cloudy, with
some snow in the mountains, so take a heavy coat, a hat and your old gloves.

What would you like to know? Please tell me where the nearest station is. Walk straight along this street, turn left
after the second bridge, then go past the small market and the white church. The train leaves every twenty minutes;
the first one starts at five in the morning, the last one shortly after midnight. A ticket costs three coins, half
price for children. If you are late, just wait on the platform and read a newspaper, or call a friend on the
telephone.

My sister works at a hospital near the river. She is a doctor and helps people who feel ill. My brother teaches music
at school: he plays the violin, the piano and sometimes the drum. Our mother writes long letters about her garden,
where apples, cherries, roses and tall yellow flowers grow. Our father built the wooden house with his own hands many
years ago. He likes to sit by the window, drink black coffee and listen to the radio while birds sing outside.

Can you help me cook dinner tonight? Of course. Cut two onions and a carrot, wash the rice, boil some water with a
little salt, and add fresh beans, green pepper, butter and cheese. Stir slowly. When everything is soft, put it on a
plate and serve it hot with bread. Would anyone want soup, fish, eggs, honey or cake? Yes, but only a small piece,
please.

Tell us a short story. Once upon a time a clever fox met an angry bear under a great oak tree. The bear had lost his
golden ring and looked for it behind every stone. The fox found it inside an empty bottle, laughed loudly, and gave it
back. Since then they have been close friends, and each winter they share a deep, quiet cave until spring returns.

How far away is the moon? Light needs about one second to reach us from there, and eight minutes from the sun. Stars
are much farther. Every planet moves around its star, ships cross the wide ocean, and clocks count hours, days, weeks,
months and whole centuries. Nobody knows exactly what happens next, yet we always keep asking questions and learning
new words.

Could you repeat that again? Maybe I spoke too fast. Never mind, let me explain it once more in simple language: open
the door, close your eyes, take seven careful steps forward, and stop. Now you may look. Surprise! Happy birthday,
dear teacher. We bought you a red bicycle, four books, a silver spoon and this beautiful picture of an island with a
lighthouse. Is it right or wrong? Both answers sound possible. Sleep well, dream of something bright, and see you
again on Monday.

你好，今天天气怎么样？今天天气很好，阳光明媚，没有风。明天可能会下雨，请记得带伞。谢谢你的帮助，我非常高兴。
你叫什么名字？我是一个语音助手，可以回答你的问题，也可以给你讲故事。请用中文说话，慢一点，我在听。
火车站在哪里？一直往前走，过了桥向左转，就在市场旁边。我们现在去吃饭吧，我想喝茶，他喜欢咖啡。
很久很久以前，山上有一座庙，庙里有一个老和尚。月亮出来了，星星在天上闪光，孩子们都睡着了。再见，晚安！
"""
